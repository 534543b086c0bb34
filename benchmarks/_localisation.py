"""How well a heat map finds evidence that is known exactly: plain NumPy, one clip each.

Heat maps are [T, H, W], not negative, larger where there is more evidence; scores run
from 0 to 1, more is better.
"""

import numpy as np


def hit(heat: np.ndarray, mask: np.ndarray, *, tolerance: float = 3.0) -> bool:
    """Whether the largest value of a whole clip points at the evidence.

    Args:
      heat: [T, H, W]; of equal largest values the first counts.
      mask: [T, H, W] bool, the evidence.
      tolerance: Euclidean distance in pixels, within the frame that holds the largest
        value, up to which a point beside the evidence counts.

    Returns:
      True for a hit; a point in a frame without evidence never is one.
    """
    heat, mask = _check(heat, mask)
    frame, row, column = np.unravel_index(np.argmax(heat), heat.shape)
    rows, columns = np.nonzero(mask[frame])
    return bool((np.hypot(rows - row, columns - column) <= tolerance).any())


def average_precision(heat: np.ndarray, mask: np.ndarray) -> float:
    """Area under the precision-recall curve of the voxels ranked by their heat.

    Sum over thresholds of precision times gain in recall, without interpolation.
    Voxels of equal heat enter together, so their order means nothing and a constant
    map gets the share of evidence in the clip, which is also what chance gets.

    Args:
      heat: [T, H, W].
      mask: [T, H, W] bool, the evidence; not empty.
    """
    heat, mask = _check(heat, mask)
    order = np.argsort(-heat, axis=None, kind="stable")
    ranked = heat.ravel()[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    found = np.cumsum(mask.ravel()[order])[last]
    precision = found / (last + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / found[-1])


def energy(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the heat that lies inside the evidence; 0 for a map of zeros.

    Args:
      heat: [T, H, W].
      mask: [T, H, W] bool, the evidence; chance is its share of the clip.
    """
    heat, mask = _check(heat, mask)
    total = heat.sum()
    return float(heat[mask].sum() / total) if total > 0 else 0.0


def temporal_iou(heat: np.ndarray, window: np.ndarray) -> float:
    """Intersection over union of the frames that are hot and those that matter.

    A frame is hot if the sum of its heat reaches the middle between the coldest and
    the hottest frame's; where all are equal all are hot.

    Args:
      heat: [T, H, W].
      window: [T] bool, the frames with evidence; not empty.
    """
    heat, window = _check(heat, window)
    frames = heat.sum((1, 2))
    hot = frames >= (frames.max() + frames.min()) / 2
    return float((hot & window).sum() / (hot | window).sum())


def _check(heat, truth):
    heat, truth = np.asarray(heat, np.float64), np.asarray(truth)
    name = "mask" if truth.ndim == 3 else "window"
    if heat.ndim != 3 or truth.shape not in (heat.shape, heat.shape[:1]):
        raise ValueError(
            f"`heat` must be [T, H, W] and `{name}` fit it, got {heat.shape} and "
            f"{truth.shape}."
        )
    if truth.dtype != bool or not truth.any():
        raise ValueError(
            f"`{name}` must be bool and not empty, got {truth.dtype} with "
            f"{np.count_nonzero(truth)} of {truth.size} set."
        )
    if not (heat >= 0).all():  # Not a number fails too.
        raise ValueError(
            f"`heat` must hold no negative value and no NaN, got {heat.min()} to "
            f"{heat.max()}."
        )
    return heat, truth
