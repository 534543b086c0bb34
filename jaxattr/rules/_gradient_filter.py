"""The gradient filter of FGVis: no unit is driven beyond what the clip makes of it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._clip import check_clip
from jaxattr._score import Network
from jaxattr.program import Traced, trace, unnamed, with_names
from jaxattr.rules._non_linearities import non_linearities

_NAME = "non_linearity"
# Two evaluations of one clip may differ in rounding, of the order of the layer's
# largest number. Without leave for that half of all units were out of bounds there.
_SLACK = 1e-5


def gradient_filter(f: Network, clip: Any) -> Callable[[Any], Any]:
    r"""Returns the network with gradients that cannot make adversarial evidence.

    Let :math:`h(x)` be what a unit gives for the clip. Evaluated at an intermediate
    explanation :math:`e`, the gradient passes the unit only where :math:`\min(0, h(x))
    \le h(e) \le \max(0, h(x))`: a unit may be less active than in the clip, never more,
    nor of the other sign. Nothing is clipped forward, and there is no parameter.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> output.
      clip: the clip that is explained, whose activations are the bounds.

    Returns:
      `network(e) -> output`, a `jax.tree_util.Partial` with the arrays of `f` and the
      clip as leaves; its output is that of `f`. The filter stands behind every ReLU,
      gelu, swish, elu, sigmoid and hyperbolic tangent, per position, and per step of a
      `scan`; not behind soft-max, pools, norms and sums.

    Raises:
      TypeError: `f` is not callable, or the clip not floating point.
      ValueError: from the call, a network without a non-linearity that can be seen, or
        an `e` that is not like the clip.

    References:
      Wagner et al., "Interpretable and Fine-Grained Visual Explanations for
      Convolutional Neural Networks", CVPR 2019, https://arxiv.org/abs/1908.02686. Our
      reading: sigmoids and tangents of recurrent cells are filtered likewise.
    """
    if not callable(f):
        raise TypeError(f"`f` must be a callable network, got {type(f).__name__}.")
    check_clip(clip)
    return jax.tree_util.Partial(_filtered, f, jax.tree.map(jnp.asarray, clip))


def _filtered(f, clip, e):
    return bounded(*activations(trace(f, clip), clip))(e)


def bounded(bounds: dict[str, jax.Array], named: Traced) -> Callable[[Any], Any]:
    """The filtered network, of what `activations` gives for the clip."""
    return lambda e: named.tapped(e, bounds, unnamed(_NAME), put=_within)[0]


def activations(network: Traced, clip: Any) -> tuple[dict[str, jax.Array], Traced]:
    """What every non-linearity gives for a clip, and the network with their names.

    Raises:
      ValueError: the network has no non-linearity that can be seen.
    """
    units = non_linearities(network)
    if not units:
        raise ValueError(
            "`f` has no non-linearity that can be seen, so there is nothing to filter."
        )
    named = with_names(network, units, _NAME)
    taps = named.tapped(clip, rule=unnamed())[1].items()
    return {name: h for name, h in taps if name.partition("#")[0] == _NAME}, named


def inside(h: jax.Array, bound: jax.Array) -> jax.Array:
    """Where a unit is no more active than its bound, nor of the other sign."""
    slack = _SLACK * jnp.abs(bound).max()
    low, high = jnp.minimum(bound, 0) - slack, jnp.maximum(bound, 0) + slack
    return (low <= h) & (h <= high)


@jax.custom_vjp
def _within(h, bound):
    return h


def _forward(h, bound):
    return h, inside(h, bound)


def _backward(passes, cotangent):
    zero = jnp.zeros_like(cotangent)
    return jnp.where(passes, cotangent, zero), zero


_within.defvjp(_forward, _backward)
