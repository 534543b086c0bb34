"""The pointing game: does the hottest point lie on the evidence?"""

import math
import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.metrics._boxes import boxes_to_mask, check_boxes, has_box
from jaxattr.metrics._ground_truth import as_array, poison, read_heatmap, read_mask


class PointingGame(NamedTuple):
    """Hits of the hottest pixel of every frame.

    Attributes:
      accuracy: [] share of the annotated frames that are hit; higher is better. NaN
        where no frame has a box.
      hits: [T] bool.
      annotated: [T] bool, the frames that count.
      chance: [] accuracy of a random pixel.
    """

    accuracy: jax.Array
    hits: jax.Array
    annotated: jax.Array
    chance: jax.Array


class Hit(NamedTuple):
    """Whether the hottest voxel of a clip points at the evidence.

    Attributes:
      hit: [] 1 or 0; higher is better.
      chance: [] share of the voxels that would be a hit.
    """

    hit: jax.Array
    chance: jax.Array


def pointing_game(
    heatmap: jax.Array,
    boxes: jax.Array,
    *,
    tolerance: float = 7.0,
    legacy: bool = False,
) -> PointingGame:
    """Asks in every frame whether the hottest pixel lies in the enlarged box.

    Frames without a box are skipped. Of equal pixels the first in reading order counts,
    so a constant map points at the top left corner. For a data set add `hits &
    annotated` and `annotated` over the clips of a class, divide, and take the mean over
    classes: that is the published score.

    Args:
      heatmap: [T, H, W] at the resolution of the boxes; any sign and scale.
      boxes: [T, 4] rows (y0, x0, y1, x1), inclusive, in pixels; NaN or -1 throughout
        where a frame has none. Of a mask: `mask_to_boxes`.
      tolerance: pixels by which the box grows on every side; 7 at 112 pixels and 15 at
        224 in the video study.
      legacy: repeats two slips of the study's released code, to compare with its
        numbers: row and column are swapped, and a frame without a box counts, against
        the box of the top left pixel.

    Returns:
      `PointingGame`; accuracy is 0 to 1, higher is better, with chance beside it. NaN
      where traced input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, a box that is
        upside down or outside the frame, a negative tolerance.
      TypeError: a heat map that is not floating point, `legacy` that is no bool.

    References:
      Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016,
      https://arxiv.org/abs/1608.00507, who allow a disc; the rectangle is that of Li et
      al., "Towards Visually Explaining Video Understanding Networks with Perturbation",
      WACV 2021, https://arxiv.org/abs/2005.00375.
    """
    _check_tolerance(tolerance)
    if not isinstance(legacy, bool):
        raise TypeError(f"`legacy` must be True or False, got {legacy!r}.")
    heat, finite = read_heatmap(heatmap)
    boxes, fit = check_boxes(as_array("boxes", boxes), heat.shape)
    return _pointing_game(heat, boxes, finite & fit, float(tolerance), legacy)


def hit(heatmap: jax.Array, truth: jax.Array, *, tolerance: float = 3.0) -> Hit:
    """Asks whether the hottest voxel of a whole clip points at the evidence.

    Of equal voxels the first counts, so a constant map points at the top left corner of
    the first frame. A heat map whose largest values were clipped to a quantile has many
    such voxels: leave it unclipped here.

    Args:
      heatmap: [T, H, W]; any sign and scale.
      truth: evidence, [T, H, W] bool, or boxes [T, 4] as in `boxes_to_mask`.
      tolerance: Euclidean distance in pixels, within the frame that holds the hottest
        voxel, up to which a point beside the evidence counts. A point in a frame
        without evidence never does.

    Returns:
      `Hit`; higher is better, with chance beside it. NaN where traced input is not
      legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, no evidence, a
        box outside the frame, a negative tolerance.
      TypeError: a heat map that is not floating point.

    References:
      As `pointing_game`, with the disc of the original, on a clip as a whole.
    """
    _check_tolerance(tolerance)
    heat, finite = read_heatmap(heatmap)
    mask, some = read_mask(truth, heat.shape)
    return _hit(heat, mask, finite & some, float(tolerance))


def _check_tolerance(tolerance):
    if not isinstance(tolerance, numbers.Real) or not 0 <= tolerance < math.inf:
        raise ValueError(f"`tolerance` must be at least 0 pixels, got {tolerance!r}.")


@jax.jit(static_argnums=(3, 4))
def _pointing_game(heat, boxes, valid, tolerance, legacy):
    annotated = has_box(boxes)
    if legacy:
        boxes = jnp.where(annotated[:, None], boxes[:, jnp.array([1, 0, 3, 2])], 0)
        annotated = jnp.ones_like(annotated)
    grow = tolerance * jnp.array([[-1, -1, 1, 1]], boxes.dtype)
    # Grown, a row of -1 would be a box.
    grown = jnp.where(annotated[:, None], boxes + grow, jnp.nan)
    near = boxes_to_mask(grown, heat.shape).reshape(len(heat), -1)
    peak = heat.reshape(len(heat), -1).argmax(1)
    hits = jnp.take_along_axis(near, peak[:, None], 1)[:, 0]
    count = annotated.sum().astype(heat.dtype)
    result = PointingGame(
        (hits & annotated).sum().astype(heat.dtype) / count,
        hits,
        annotated,
        near.mean(1, dtype=heat.dtype).sum() / count,
    )
    return poison(result, valid)


@jax.jit(static_argnums=3)
def _hit(heat, mask, valid, tolerance):
    # Cut to the offsets that two pixels of one frame can have.
    down, across = (min(int(tolerance), size - 1) for size in heat.shape[1:])
    y, x = np.mgrid[-down : down + 1, -across : across + 1]
    disc = jnp.asarray(np.hypot(y, x) <= tolerance, heat.dtype)
    spread = jax.lax.conv_general_dilated(
        mask[:, None].astype(heat.dtype), disc[None, None], (1, 1), "SAME"
    )
    near = spread[:, 0] > 0.5
    result = Hit(
        near.ravel()[heat.argmax()].astype(heat.dtype), near.mean(dtype=heat.dtype)
    )
    return poison(result, valid)
