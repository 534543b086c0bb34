"""Scores of clips of which only some segments are shown: what surrogates are fit to."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxattr._expectation import each


def scores_of(
    score: Callable[[jax.Array], jax.Array],
    coalitions: jax.Array,
    *,
    chunk: int | None,
) -> jax.Array:
    """The score with only those segments shown.

    Args:
      score: segments that are shown, [M] bool -> [].
      coalitions: [n, M] bool.
      chunk: evaluated side by side.

    Returns:
      [n].
    """
    return each(lambda i: score(coalitions[i]), len(coalitions), chunk=chunk)


def all_coalitions(num_segments: int) -> jax.Array:
    """Every subset of M segments, [2**M, M] bool, the empty one first, all last."""
    index = jnp.arange(2**num_segments, dtype=jnp.int32)[:, None]
    return (index >> jnp.arange(num_segments, dtype=jnp.int32)[None]) & 1 == 1
