"""The network's score in many states of one clip, in memory that does not grow."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxattr._expectation import each


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
