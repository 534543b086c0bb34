"""Energy: how much of the heat lies inside the evidence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.metrics._boxes import boxes_to_mask, check_boxes, has_box
from jaxattr.metrics._ground_truth import (
    as_array,
    below_one,
    poison,
    read_heatmap,
    read_mask,
)


class Energy(NamedTuple):
    """Share of the heat that lies inside the evidence.

    Attributes:
      energy: [] 0 to 1; higher is better; 0 where there is no heat at all.
      chance: [] share of the voxels that are inside, which a constant map gets.
    """

    energy: jax.Array
    chance: jax.Array


def energy(heatmap: jax.Array, truth: jax.Array) -> Energy:
    """Divides the heat on the evidence by all heat of the clip.

    The whole map counts, not only its largest value, so the answer depends on how the
    map was made: name the settings of `to_heatmap`, above all whether negative values
    were cut off or turned positive. A map of zeros gets 0, which is below chance.

    Args:
      heatmap: [T, H, W], not negative; any scale.
      truth: evidence, [T, H, W] bool, or boxes [T, 4] as in `boxes_to_mask`.

    Returns:
      `Energy`; higher is better, 0 to 1, chance is the share of evidence. NaN where
      traced input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is negative or not finite, no
        evidence, a box outside the frame.
      TypeError: a heat map that is not floating point.

    References:
      Relevance mass accuracy: Arras, Osman and Samek, "CLEVR-XAI", Information Fusion
      2022, https://arxiv.org/abs/2003.07258.
    """
    heat, valid = read_heatmap(heatmap, non_negative=True)
    mask, some = read_mask(truth, heat.shape)
    return _energy(heat, mask, jnp.ones(len(heat), bool), valid & some)


def energy_in_box(heatmap: jax.Array, boxes: jax.Array) -> Energy:
    """Divides the heat inside the boxes by all heat of the frames that have one.

    The energy-based pointing game. Its authors leave out objects that fill more than
    half of the frame: leave out clips whose `chance` is above 0.5.

    Args:
      heatmap: [T, H, W], not negative; any scale.
      boxes: [T, 4] rows (y0, x0, y1, x1), inclusive, in pixels; NaN or -1 throughout
        where a frame has none. Heat in such a frame does not count.

    Returns:
      `Energy`; higher is better, 0 to 1. Chance is the boxes' share of their frames.
      Both are NaN where no frame has a box, and where traced input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is negative or not finite, a
        box that is upside down or outside the frame.
      TypeError: a heat map that is not floating point.

    References:
      Wang et al., "Score-CAM", CVPR 2020 workshops, https://arxiv.org/abs/1910.01279,
      section 4.3; the sum over the frames of a clip is ours.
    """
    heat, valid = read_heatmap(heatmap, non_negative=True)
    boxes, fit = check_boxes(as_array("boxes", boxes), heat.shape)
    mask = boxes_to_mask(boxes, heat.shape)
    annotated = has_box(boxes)
    return _energy(heat, mask, annotated, valid & fit & annotated.any())


@jax.jit
def _energy(heat, mask, counted, valid):
    heat = below_one(jnp.where(counted[:, None, None], heat, 0))
    total = heat.sum()
    share = jnp.where(mask, heat, 0).sum() / jnp.where(total > 0, total, 1)
    voxels = counted.sum().astype(heat.dtype) * (heat.size // len(heat))
    return poison(Energy(share, mask.sum().astype(heat.dtype) / voxels), valid)
