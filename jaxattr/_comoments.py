"""How a number goes with an array over many samples, and when there are enough."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import fold, initial, masked_sum


class Comoments(NamedTuple):
    """What samples (y, x) say of the line through them.

    Attributes:
      count: [] int32 samples drawn.
      mean: of y and of x, a pair.
      variance: of y and of x, a pair; unbiased.
      covariance: like x, of y with every element of x; unbiased.
    """

    count: jax.Array
    mean: tuple[jax.Array, jax.Array]
    variance: tuple[jax.Array, jax.Array]
    covariance: jax.Array


def comoments(
    g: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    num: int,
    *,
    chunk: int | None = None,
    enough: Callable[[Comoments], jax.Array] | None = None,
    every: int = 100,
) -> Comoments:
    """Moments of a number y and an array x, and of the two together.

    Merged as in `jaxattr._expectation.moments`.

    Args:
      g: sample index [] int32 -> (y [], x).
      num: number of samples, at least 2.
      chunk: samples computed side by side, as in `mean` there.
      enough: whether what is known by now will do; asked after about every `every`
        samples, and None never asks. Whatever the chunk, it sees the same samples.
      every: see `enough`.

    Returns:
      Those of the samples drawn.
    """

    def merge(state, samples, weights, seen):
        here = _moments_here(samples, weights)
        return _merge(state, here, weights, seen)

    def result(state, count):
        means, squares, product = state
        least = jnp.maximum(count - 1, 1)
        variances = tuple(s / least.astype(s.dtype) for s in squares)
        return Comoments(count, means, variances, product / least.astype(product.dtype))

    def init(zero):
        return zero, zero, zero[1]

    if enough is None:
        state = fold(g, initial(g, init), 0, num, num, chunk, merge)
        return result(state, jnp.int32(num))
    spans = math.ceil(num / every)
    span = math.ceil(num / spans)
    count, state = jax.lax.while_loop(
        lambda carry: (
            (carry[0] < num)
            & ((carry[0] == 0) | jnp.logical_not(enough(result(carry[1], carry[0]))))
        ),
        lambda carry: (
            jnp.minimum(carry[0] + span, num),
            fold(g, carry[1], carry[0], span, num, chunk, merge),
        ),
        (jnp.int32(0), initial(g, init)),
    )
    return result(state, count)


def _moments_here(samples, weights):
    """Means, sums of squares and the sum of products of one chunk of pairs (y, x)."""
    size = jnp.maximum(weights.sum(dtype=jnp.int32), 1)
    means = tuple(masked_sum(s, weights) / size.astype(s.dtype) for s in samples)
    y, x = (s - m[None] for s, m in zip(samples, means))
    squares = masked_sum(y**2, weights), masked_sum(x**2, weights)
    return means, squares, masked_sum(_times(y, x), weights)


def _merge(state, here, weights, seen):
    """Chan, Golub and LeVeque's update, for squares and for products alike."""
    means, squares, product = state
    size = weights.sum(dtype=jnp.int32)
    steps = tuple(b - a for a, b in zip(means, here[0]))

    def share(x):  # Of the chunk, in all that there is.
        return size.astype(x.dtype) / jnp.maximum(seen + size, 1).astype(x.dtype)

    def grown(a, b, step):
        return a + b + step * (share(a) * jnp.asarray(seen).astype(a.dtype))

    return (
        tuple(m + step * share(m) for m, step in zip(means, steps)),
        tuple(grown(a, b, d**2) for a, b, d in zip(squares, here[1], steps)),
        grown(product, here[2], _times(*(step[None] for step in steps))[0]),
    )


def _times(y, x):
    """Numbers [n] times arrays [n, ...]."""
    return jnp.expand_dims(y, range(1, x.ndim)).astype(x.dtype) * x
