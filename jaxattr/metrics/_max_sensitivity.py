"""Max-sensitivity: how far a small change of the clip can move an explanation."""

import math
import numbers
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, widen
from jaxattr._expectation import check_chunk, check_count
from jaxattr._score import Network
from jaxattr.metrics._method_metric import Method, attribute, method_metric


class MaxSensitivity(NamedTuple):
    """The largest change of an explanation that was found.

    Attributes:
      absolute: [] Euclidean norm of the change, in units of the explanation.
      relative: [] the same over the norm of the explanation; NaN or infinite where that
        is zero.
    """

    absolute: jax.Array
    relative: jax.Array


def max_sensitivity(
    method: Method,
    f: Network,
    *,
    radius: float = 0.02,
    num_samples: int = 32,
    chunk: int | None = None,
) -> Callable[..., MaxSensitivity]:
    r"""Measures the largest change under noise of bounded size.

    :math:`\max_k \|\phi(x + \delta_k) - \phi(x)\|_2`, every element of
    :math:`\delta_k` uniform in `-radius..radius`. The noise is in the direction of
    nothing in particular: this is a lower bound of the maximum, which grows with
    `num_samples`. A constant explanation is perfectly insensitive, so this says nothing
    alone: read it next to `infidelity`. The method gets the same key every time.

    Args:
      method: transform such as `jaxattr.saliency`, or a `functools.partial` of one.
      f: network, one clip [T, H, W, C] -> output.
      radius: in the units of the clip; a network's input has a standard deviation of
        about 1, in which a grey level of 256 is some 0.02.
      num_samples: noisy clips; time grows with it.
      chunk: clips explained side by side; None takes one on a CPU and eight elsewhere.
        It changes memory, never the result.

    Returns:
      `measure(clip, target, *, key) -> MaxSensitivity`. Lower is better, from 0; there
      is no chance level. Compare methods by `relative`.

    Raises:
      ValueError: a radius that is not above 0, `num_samples < 1`; when called, a
        missing key, a bad target.

    References:
      Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019,
      https://arxiv.org/abs/1901.09392, definition 3.1.
    """
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    if not isinstance(radius, numbers.Real) or not 0 < radius < math.inf:
        raise ValueError(f"`radius` must be above 0, got {radius!r}.")
    return method_metric(
        _sensitivity, method, f, radius, num_samples=num_samples, chunk=chunk
    )


def _sensitivity(method, f, clip, target, radius, *, key, num_samples, chunk):
    draw_key, method_key = jax.random.split(key)
    wide = widen(clip)
    reach = radius.astype(wide.dtype)

    def explained(x):
        return attribute(method(f), narrow(x, clip), target, method_key)

    original = explained(wide)

    def change(index):
        sample_key = jax.random.fold_in(draw_key, index)
        noise = jax.random.uniform(
            sample_key, wide.shape, wide.dtype, minval=-1, maxval=1
        )
        return jnp.sqrt(((explained(wide + reach * noise) - original) ** 2).sum())

    if chunk is None:
        chunk = 1 if jax.default_backend() == "cpu" else 8
    samples = jnp.arange(num_samples, dtype=jnp.int32)
    # A maximum, not a sum: one number a sample is all that has to be kept.
    changes = jax.lax.map(change, samples, batch_size=min(chunk, num_samples))
    largest = changes.max()
    return MaxSensitivity(largest, largest / jnp.sqrt((original**2).sum()))
