"""Localisation IoU: boxes drawn around the hot region of every frame."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy import ndimage  # A dependency of JAX.

from jaxattr.metrics._boxes import (
    boxes_to_mask,
    check_boxes,
    has_box,
    mask_to_boxes,
)
from jaxattr.metrics._ground_truth import as_array, is_concrete, read_heatmap

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


class LocalisationIoU(NamedTuple):
    """Overlap of predicted and true boxes.

    Attributes:
      iou: [] best value of `curve`, 0 to 1; higher is better.
      threshold: [] the first threshold that reaches it.
      curve: [N] mean IoU over the annotated frames, for every threshold.
      thresholds: [N] as fractions of each frame's largest value.
      boxes: [N, T, 4] the predicted boxes; NaN in a frame without heat.
    """

    iou: float
    threshold: float
    curve: np.ndarray
    thresholds: np.ndarray
    boxes: np.ndarray


def localisation_iou(
    heatmap: jax.Array,
    boxes: jax.Array,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> LocalisationIoU:
    """Draws the box of the largest hot component in every frame, and compares it.

    A pixel is hot if it reaches a fraction of its frame's largest value. Hot pixels
    that share an edge form a component; of equally large ones the first in reading
    order counts. A frame without heat has no box, and scores 0.

    The best threshold is chosen with the truth in hand. To compare methods choose it on
    other clips, from the mean of their curves, and read `curve` there. A constant map
    draws the whole frame, and gets the boxes' share of it; there is no other chance
    level, so run a control such as a centred Gaussian.

    Runs on the host, in NumPy: not inside `jit` or `vmap`.

    Args:
      heatmap: [T, H, W], not negative; any scale.
      boxes: [T, 4] rows (y0, x0, y1, x1), inclusive, in pixels; NaN or -1 throughout
        where a frame has none; such frames are skipped. Cut to the pixels whose centre
        they hold.
      thresholds: fractions of the largest value, in 0..1, not 0.

    Returns:
      `LocalisationIoU`; higher is better, 0 to 1. NaN where no frame has a box.

    Raises:
      ValueError: shapes that do not fit, a heat map that is negative or not finite, a
        box that is upside down or outside the frame, a threshold out of range.
      TypeError: a heat map that is not floating point, or any trace.

    References:
      Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016,
      https://arxiv.org/abs/1512.04150, section 3.2; the mean over the frames of a clip
      is ours. For the usual error rate count clips below 0.5.
    """
    if not (is_concrete(heatmap) and is_concrete(boxes)):
        raise TypeError(
            "`heatmap` and `boxes` must be concrete: localisation_iou finds components "
            "on the host and does not run under jit or vmap."
        )
    levels = np.asarray(thresholds, np.float64)
    if levels.ndim != 1 or not levels.size or not ((levels > 0) & (levels <= 1)).all():
        raise ValueError(
            f"`thresholds` must be fractions in 0..1, not 0, got {thresholds!r}."
        )
    heat, _ = read_heatmap(heatmap, non_negative=True)
    boxes, _ = check_boxes(as_array("boxes", boxes), heat.shape)
    # What was annotated, in whole pixels of the frame: all that a map can draw.
    boxes = mask_to_boxes(boxes_to_mask(boxes, heat.shape))
    annotated = np.asarray(has_box(boxes))
    heat, boxes = np.asarray(heat), np.asarray(boxes, np.float64)
    drawn = np.array([[_box(frame, level) for frame in heat] for level in levels])
    if not annotated.any():
        nan = np.full(levels.size, np.nan)
        return LocalisationIoU(np.nan, np.nan, nan, levels, drawn)
    overlap = np.nan_to_num(_iou(drawn, boxes[None]))  # A missing box scores 0.
    curve = overlap[:, annotated].mean(1)
    best = int(curve.argmax())
    return LocalisationIoU(curve[best], levels[best], curve, levels, drawn)


def _box(frame, level):
    """Box of the largest component of pixels at `level` of the largest value."""
    if not frame.max() > 0:
        return np.full(4, np.nan)
    labels, _ = ndimage.label(frame >= level * frame.max())
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    rows, columns = np.nonzero(labels == largest)
    return np.array([rows.min(), columns.min(), rows.max(), columns.max()], np.float64)


def _iou(a, b):
    """IoU of boxes [..., 4], whose ends are inclusive."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    both = np.prod(np.maximum(high - low + 1, 0), -1)
    areas = [np.prod(box[..., 2:] - box[..., :2] + 1, -1) for box in (a, b)]
    return both / (areas[0] + areas[1] - both)
