"""Segments of a clip, for methods and metrics that take whole regions at once."""

import math
import numbers
from typing import Any, Literal, get_args

import numpy as np

from jaxattr._expectation import check_count
from jaxattr.data._extras import need

Kind = Literal["slic", "grid"]


def supervoxels(
    clip: Any,
    num_segments: int = 64,
    *,
    kind: Kind = "slic",
    per_frame: bool = False,
    compactness: float = 10.0,
    frame_distance: float = 1.0,
    sigma: float = 0.8,
) -> np.ndarray:
    """Divides a clip into regions, on the host.

    "slic" groups neighbours of similar colour, in Lab for three channels; "grid" cuts
    a regular grid of tubes and does not look at the clip, so that it finds nothing that
    moves but favours no boundary either.

    Args:
      clip: [T, H, W, C]; only differences of its values matter, not their scale.
      num_segments: most segments; "slic" may find fewer.
      kind: "slic" or "grid".
      per_frame: segment every frame by itself, with `num_segments` // T segments each.
      compactness: of "slic", weight of distance in space and time against colour.
      frame_distance: of "slic", pixels that one frame counts as: the larger, the
        shorter its segments last.
      sigma: of "slic", standard deviation in pixels of the blur before it.

    Returns:
      [T, H, W] int32, labels 0..n-1, all of which occur, n <= `num_segments`.

    Raises:
      ValueError: a clip that is not [T, H, W, C] or not finite, an unknown kind, fewer
        segments than frames with `per_frame`, a setting that is not positive.
      ImportError: scikit-image is not installed ("slic" only); names the extra.

    References:
      Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel
      Methods", TPAMI 2012, in three dimensions, by scikit-image.
    """
    clip = np.asarray(clip, np.float64)
    if clip.ndim != 4 or not clip.size:
        raise ValueError(f"`clip` must be [T, H, W, C], got shape {clip.shape}.")
    if not np.isfinite(clip).all():
        raise ValueError("`clip` must be finite, got NaN or infinity.")
    check_count("num_segments", num_segments)
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {kind!r}.")
    settings = {
        "compactness": compactness,
        "frame_distance": frame_distance,
        "sigma": sigma,
    }
    for name, value in settings.items():
        if not (isinstance(value, numbers.Real) and value > 0):
            raise ValueError(f"`{name}` must be positive, got {value!r}.")
    if per_frame and num_segments < len(clip):
        raise ValueError(
            f"`num_segments` must be at least 1 for each of {len(clip)} frames, got "
            f"{num_segments}."
        )

    def segment(part, most):
        if kind == "grid":
            return _grid(part.shape[:3], most)
        return _slic(part, most, compactness, frame_distance, sigma)

    if not per_frame:
        return segment(clip, num_segments)
    frames, start = [], 0
    for frame in clip:
        labels = start + segment(frame[None], num_segments // len(clip))
        start = labels.max() + 1
        frames.append(labels)
    return np.concatenate(frames)


def _slic(clip, most, compactness, frame_distance, sigma):
    slic = need("skimage.segmentation", "scikit-image", "data").slic
    ask = min(most, math.prod(clip.shape[:3]))
    while ask > 1:
        labels = slic(
            clip,
            ask,
            compactness=compactness,
            spacing=(frame_distance, 1, 1),
            sigma=sigma,
            start_label=0,
            channel_axis=-1,
        )
        found, labels = np.unique(labels, return_inverse=True)
        if len(found) <= most:
            return labels.reshape(clip.shape[:3]).astype(np.int32)
        ask -= max(1, ask * (len(found) - most) // len(found))
    return np.zeros(clip.shape[:3], np.int32)


def _grid(shape, most):
    """About as many cells in time as in a row, and as many rows as columns."""
    frames = min(shape[0], max(1, round(most ** (1 / 3))))
    rows = min(shape[1], max(1, math.isqrt(most // frames)))
    columns = min(shape[2], max(1, most // (frames * rows)))
    rows = min(shape[1], most // (frames * columns))  # Where columns are few.
    t, y, x = (
        np.arange(size) * cells // size
        for size, cells in zip(shape, (frames, rows, columns))
    )
    labels = (t[:, None, None] * rows + y[:, None]) * columns + x
    return labels.astype(np.int32)
