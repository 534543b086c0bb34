"""The network's score in many states of one clip, in memory that does not grow."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._expectation import even_chunks


def each(g: Callable[[jax.Array], Any], num: int, *, chunk: int | None = None) -> Any:
    """Keeps `g(i)` for i = 0..num-1; for a mean see `jaxattr._expectation`.

    Args:
      g: index [] int32 -> pytree of small arrays.
      num: how many.
      chunk: computed side by side; None takes one on a CPU and eight elsewhere.

    Returns:
      Pytree like `g(i)` with a leading axis [num].
    """
    blocks, size = even_chunks(num, chunk)
    index = jnp.arange(blocks * size, dtype=jnp.int32).clip(0, num - 1)
    if size == 1:
        return jax.lax.map(g, index)
    kept = jax.lax.map(jax.vmap(g), index.reshape(blocks, size))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num], kept)


def removal_scores(
    score: Callable[[jax.Array], jax.Array],
    clip: jax.Array,
    base: jax.Array,
    position: jax.Array,
    cuts: jax.Array,
    *,
    insert: bool = False,
    chunk: int | None = None,
) -> jax.Array:
    """Scores of the clip with the first units of an order taken away, or put in.

    Args:
      score: clip -> [].
      clip: [T, H, W, C].
      base: likewise, what is seen where the clip is not.
      position: [T, H, W] place in the order of every voxel's unit.
      cuts: [n] int32; state j changes the voxels with `position < cuts[j]`.
      insert: change from base to clip instead of from clip to base.
      chunk: states computed side by side.

    Returns:
      [n].
    """
    before, after = (base, clip) if insert else (clip, base)

    def state(j):
        changed = position < cuts[j]  # The only mask there ever is.
        return score(jnp.where(changed[..., None], after, before))

    return each(state, cuts.size, chunk=chunk)


def cut_points(count: int | jax.Array, num_steps: int) -> jax.Array:
    """floor(j / num_steps * count) for j = 0..num_steps, exactly, [num_steps + 1]."""
    steps = jnp.arange(num_steps + 1, dtype=jnp.int32)
    # Split so that no product leaves int32, for clips of many millions of units.
    return steps * (count // num_steps) + steps * (count % num_steps) // num_steps
