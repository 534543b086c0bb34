"""What methods return whose mask has few cells, and how these become one of pixels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr._clip import narrow
from jaxattr._resize import to_clip
from jaxattr._score import Network, Score, poison_of
from jaxattr.perturbation._mask_loop import MaskHistory
from jaxattr.perturbation._reward import kept_score


class GridMask(NamedTuple):
    """A mask of one clip, and what showing and hiding it does.

    Attributes:
      values: [T, H, W] mask, 0 to 1, 1 where the evidence is.
      grid: [T', h, w] its cells, 0 to 1.
      kept: [] score of the clip of which only the mask is shown: a probability under a
        score of a softmax. Higher is better.
      lost: [] likewise, with the mask hidden. Lower is better.
      history: course of the optimisation.
    """

    values: jax.Array
    grid: jax.Array
    kept: jax.Array
    lost: jax.Array
    history: MaskHistory


def grid_mask(
    f: Network,
    clip: jax.Array,
    target: Any,
    score: Score,
    show: Callable[[jax.Array], jax.Array],
    mask: jax.Array,
    grid: jax.Array,
    history: MaskHistory,
) -> GridMask:
    """Scores a mask [T, H, W]; all is NaN for a traced target out of range."""
    report = kept_score(f, clip, target, score)
    kept, lost = (report(narrow(show(m), clip)) for m in (mask, 1 - mask))
    result = GridMask(mask, grid, kept, lost, history)
    # Only signs of a gradient of NaN survive in a clipped mask.
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda x: x * poison.astype(x.dtype), result)


def between_cells(grid: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Cells that share the clip evenly, linearly interpolated to [T, H, W]."""
    return to_clip(grid, shape, (None, None, None))
