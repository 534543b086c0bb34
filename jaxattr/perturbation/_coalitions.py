"""Scores of clips of which only some segments are shown: what surrogates are fit to."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxattr._expectation import each
from jaxattr._segments import shown


def scores_of(
    s: Callable[[jax.Array], jax.Array],
    coalitions: jax.Array,
    segments: jax.Array,
    clip: jax.Array,
    base: jax.Array,
    *,
    chunk: int | None,
) -> jax.Array:
    """The score with only those segments shown, and the substitute elsewhere.

    Args:
      s: clip -> [].
      coalitions: [n, M] bool, the segments that are shown.
      segments: [T, H, W] labels.
      clip: [T, H, W, C].
      base: likewise, the substitute.
      chunk: evaluated side by side.

    Returns:
      [n].
    """

    def one(index):
        return s(shown(coalitions[index], segments, clip, base))

    return each(one, len(coalitions), chunk=chunk)


def all_coalitions(num_segments: int) -> jax.Array:
    """Every subset of M segments, [2**M, M] bool, the empty one first, all last."""
    index = jnp.arange(2**num_segments, dtype=jnp.int32)[:, None]
    return (index >> jnp.arange(num_segments, dtype=jnp.int32)[None]) & 1 == 1
