"""Input invariance: does an explanation depend on where the input's zero lies?"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import filled, narrow, widen
from jaxattr._score import Network
from jaxattr.metrics._method_metric import Method, attribute, method_metric
from jaxattr.metrics._spearman import spearman


class InputInvariance(NamedTuple):
    """Similarity of the explanations of one computation in two coordinates.

    Attributes:
      spearman: [] rank correlation of the raw values; 1 for an invariant method.
      spearman_abs: [] that of their absolute values.
      difference: [] Euclidean norm of the change over that of the explanation; 0 for an
        invariant method.
    """

    spearman: jax.Array
    spearman_abs: jax.Array
    difference: jax.Array


def input_invariance(
    method: Method, f: Network, *, shift: jax.Array | float = 1.0
) -> Callable[..., InputInvariance]:
    """Shifts the clip by a constant that the network takes off again, and compares.

    With g(x) = f(x - c), f at the clip and g at the clip plus c compute the same, so
    nothing that matters to the network has changed. Gradients are the same. What
    multiplies by the clip, or compares it with a baseline or a substitute that is a
    fixed colour, is not: then the choice of that colour is part of the explanation, to
    be stated with it.

    Args:
      method: transform such as `jaxattr.saliency`, or a `functools.partial` of one.
      f: network, one clip [T, H, W, C] -> output.
      shift: c, a number or an array that fits the clip ([C], [T, H, W, C]), in the
        units of the clip.

    Returns:
      `measure(clip, target, *, key) -> InputInvariance`; the method gets the same key
      both times. Higher correlation is better, 1 is invariance, 0 chance. NaN where an
      explanation is constant.

    Raises:
      ValueError: when called, a shift that does not fit, a missing key, a bad target.

    References:
      Kindermans et al., "The (Un)reliability of Saliency Methods", 2017,
      https://arxiv.org/abs/1711.00867. They fold c into the bias of the first layer;
      taking it off the input first is the same network.
    """
    return method_metric(_invariance, method, f, shift)


def _invariance(method, f, clip, target, shift, *, key):
    shift = filled(shift, clip, "shift")
    moved = narrow(widen(clip) + shift, clip)
    shifted = jax.tree_util.Partial(_shifted, f, narrow(shift, clip))
    a = attribute(method(f), clip, target, key)
    b = attribute(method(shifted), moved, target, key)
    return InputInvariance(
        spearman(a, b),
        spearman(jnp.abs(a), jnp.abs(b)),
        jnp.sqrt(((a - b) ** 2).sum() / (a**2).sum()),
    )


def _shifted(f, shift, clip):
    return f(clip - shift)
