"""Where to start a mask: at the cells along whose path the score rises most."""

import jax
import jax.numpy as jnp

from jaxattr.perturbation._area import area_count
from jaxattr.perturbation._selection import top_weights


def warm_start(
    evidence: jax.Array,
    digits: jax.Array,
    values: jax.Array,
    passes: tuple[int, int],
) -> jax.Array:
    """Makes a grid that is high where the evidence is largest.

    Evidence is cut at zero before it is smoothed. On uniform grids the frames of one
    object often pull in opposite directions, since showing one of them more than its
    neighbours makes it flicker; they would cancel, and half of the object be lost.

    Args:
      evidence: [T, h, w] from `path_gradient`.
      digits: [11] of the share of cells that start high, from `area_digits`.
      values: [2] start of the other cells and of those.
      passes: how often to average neighbours, in time and in space.

    Returns:
      [T, h, w].
    """
    return start_high(smooth_grid(jnp.maximum(evidence, 0), passes), digits, values)


def start_high(evidence: jax.Array, digits: jax.Array, values: jax.Array) -> jax.Array:
    """Puts the cells of the largest evidence high, the others low.

    Args:
      evidence: any shape, not negative.
      digits: as in `warm_start`.
      values: likewise.

    Returns:
      Like `evidence`.
    """
    tiny = jnp.finfo(evidence.dtype).tiny
    ranks = (evidence / jnp.maximum(evidence.max(), tiny)).ravel()
    high = top_weights(ranks, area_count(digits, ranks.size))
    return values[0] + (values[1] - values[0]) * high.reshape(evidence.shape)


def smooth_grid(grid: jax.Array, passes: tuple[int, int]) -> jax.Array:
    """Averages cells with their neighbours, weights 1/4, 1/2, 1/4, the edge repeated.

    Args:
      grid: [T, h, w].
      passes: repetitions along time, and along both axes of space.
    """
    in_time, in_space = passes
    for axis, repeats in enumerate((in_time, in_space, in_space)):
        before = jnp.maximum(jnp.arange(grid.shape[axis], dtype=jnp.int32) - 1, 0)
        for _ in range(repeats):
            earlier = grid.take(before, axis)
            later = jnp.flip(jnp.flip(grid, axis).take(before, axis), axis)
            grid = 0.5 * grid + 0.25 * (earlier + later)
    return grid
