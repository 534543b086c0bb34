"""Box, resize and crop: from a video's own frames to the frames that a network sees."""

import math
import operator
from typing import NamedTuple

import numpy as np


class Geometry(NamedTuple):
    """How a frame of the source became a frame of the clip, so that it can be undone.

    Pixel centres map linearly. Row y of the clip lies at row
    `box[0] + (y + 0.5 + crop[0]) * (box[2] - box[0]) / resized[0] - 0.5` of the source,
    and columns alike.

    Attributes:
      source_size: (h, w) of the video's own frames.
      box: (top, left, bottom, right) cut out of them first, in their pixels.
      resized: (height, width) that the box was resized to.
      crop: (top, left) of the window then taken, in resized pixels.
      size: (H, W) of that window: the clip's frames.
    """

    source_size: tuple[int, int]
    box: tuple[int, int, int, int]
    resized: tuple[int, int]
    crop: tuple[int, int]
    size: tuple[int, int]


def plan(
    source_size: tuple[int, int],
    size: tuple[int, int],
    resize: tuple[int, int] | int | None,
    box: tuple[int, int, int, int] | None,
    crop: str | tuple[int, int],
) -> Geometry:
    """Works out box, resize and crop for frames of one size.

    Args:
      source_size: (h, w) of the frames.
      size: (H, W) that the network wants.
      resize: (height, width); an integer for the shorter side, the other one following
        the aspect, rounded down as torchvision does; or None for `size` itself.
      box: (top, left, bottom, right), or None for the whole frame.
      crop: "centre", with torchvision's rounding of half a pixel (to even), or
        (top, left).

    Raises:
      ValueError: a box or a crop that does not fit.
    """
    h, w = source_size
    sides = (0, 0, h, w) if box is None else _integers(box, 4)
    top, left, bottom, right = sides or (0, 0, 0, 0)
    if not (0 <= top < bottom <= h and 0 <= left < right <= w):
        raise ValueError(
            "`box` must be (top, left, bottom, right) in pixels of the "
            f"{h}x{w} (height x width) frames, got {box!r}."
        )
    resized = _resized(bottom - top, right - left, size, resize)
    room = resized[0] - size[0], resized[1] - size[1]
    if min(room) < 0:
        raise ValueError(
            f"`spec` resizes frames to {resized}, which is smaller than its `size` "
            f"{tuple(size)}."
        )
    centre = round(room[0] / 2), round(room[1] / 2)
    corner = centre if crop == "centre" else _integers(crop, 2)
    if not (corner and 0 <= corner[0] <= room[0] and 0 <= corner[1] <= room[1]):
        raise ValueError(
            f"`crop` must be 'centre' or (top, left) within (0, 0) and {room}, so that "
            f"{tuple(size)} fits into the resized {resized}, got {crop!r}."
        )
    return Geometry(
        source_size=(h, w),
        box=(top, left, bottom, right),
        resized=resized,
        crop=(corner[0], corner[1]),
        size=(int(size[0]), int(size[1])),
    )


def _integers(values, count):
    """Values as a tuple of `count` integers, or None if they are something else."""
    try:
        integers = tuple(operator.index(v) for v in values)
    except TypeError:
        return None
    return integers if len(integers) == count else None


def _resized(h, w, size, resize):
    if resize is None:
        return int(size[0]), int(size[1])
    if not isinstance(resize, int | np.integer):
        return int(resize[0]), int(resize[1])
    if h <= w:
        return int(resize), int(resize * w / h)
    return int(resize * h / w), int(resize)


def apply(frame: np.ndarray, geometry: Geometry, antialias: bool) -> np.ndarray:
    """Cuts, resizes and crops one frame.

    Args:
      frame: [h, w, C] pixels.
      geometry: of this frame.
      antialias: whether to low-pass when shrinking.

    Returns:
      [H, W, C] float32 in the units of `frame`, not rounded.
    """
    top, left, bottom, right = geometry.box
    frame = frame[top:bottom, left:right]
    for axis in (0, 1):
        places, weights = _taps(frame.shape[axis], geometry.resized[axis], antialias)
        start = geometry.crop[axis]
        window = slice(start, start + geometry.size[axis])  # Nothing else is computed.
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        parts = [
            frame.take(place[window], axis) * weight[window].reshape(shape)
            for place, weight in zip(places, weights)
        ]
        frame = np.sum(parts, axis=0)
    return frame


def _taps(length, new, antialias):
    """Which pixels a bilinear resize along one axis adds up, and how much of each.

    Output pixel o looks at input position (o + 1/2) length / new - 1/2 through a
    triangle that reaches one input pixel to each side; with `antialias`, length / new
    when that is more. This is torch's `interpolate(align_corners=False)` and, with
    `antialias`, Pillow's bilinear filter: at the border the weights are renormalised.

    Returns:
      Places [k, new] int and weights [k, new] float32 that sum to 1 over k.
    """
    scale = length / new
    reach = max(scale, 1.0) if antialias else 1.0
    position = (np.arange(new) + 0.5) * scale - 0.5
    first = np.floor(position - reach).astype(np.int64) + 1
    places = first + np.arange(math.ceil(2 * reach))[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(position - places) / reach)
    weights *= (places >= 0) & (places < length)
    weights /= weights.sum(0)
    return places.clip(0, length - 1), weights.astype(np.float32)
