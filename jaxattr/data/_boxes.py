"""Annotated boxes: which one a frame has, and where it lies in the clip.

Everything here is in fractions of the annotated picture until the geometry of the clip
is known, so that it does not matter whether frames were shrunk before they were stored.
"""

from typing import NamedTuple, Protocol

import numpy as np

from jaxattr.data._geometry import Geometry

# A millionth of a pixel: fractions of the picture are rounded, edges on whole pixels
# must stay there.
_SLACK = 1e-6
# What reaches farther beyond the picture than it is large is in pixels, not fractions.
FARTHEST = 2.0


class Boxes(Protocol):
    """The boxes of one video."""

    def at(self, frames: np.ndarray) -> np.ndarray:
        """Boxes of some frames.

        Args:
          frames: [T] numbers of frames, as the annotation counts them.

        Returns:
          [T, 4] float64 (top, left, bottom, right), edges in fractions of the picture;
          NaN where a frame has no box.
        """
        ...


class Tubes(NamedTuple):
    """Boxes in consecutive frames, one run of them per actor; a later one wins.

    Attributes:
      starts: first frame of each tube.
      boxes: per tube [n, 4] (x, y, width, height).
      size: (h, w) of the picture they are in.
    """

    starts: tuple[int, ...]
    boxes: tuple[np.ndarray, ...]
    size: tuple[int, int]

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See `Boxes`."""
        found = np.full((len(frames), 4), np.nan)
        for start, tube in zip(self.starts, self.boxes):
            there = (frames >= start) & (frames < start + len(tube))
            # Stored as bytes where they fit: the sums below would overflow.
            x, y, width, height = tube[frames[there] - start].astype(np.float64).T
            found[there] = np.stack([y, x, y + height, x + width], 1)
        return _or_none(found) / np.tile(self.size, 2)


class Keyed(NamedTuple):
    """Boxes in some frames, which count for those around them.

    Attributes:
      frames: [n] ascending numbers of the annotated frames.
      boxes: [n, 4] (top, left, height, width); NaN where there is none to be seen.
      size: (h, w) of the picture they are in.
      reach: a frame has the box of the nearest annotated frame, the earlier of two, if
        it is at most so many frames away.
    """

    frames: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int]
    reach: int

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See `Boxes`."""
        away = np.abs(frames[:, None] - self.frames)
        nearest = away.argmin(1)
        top, left, height, width = self.boxes[nearest].astype(np.float64).T
        found = np.stack([top, left, top + height, left + width], 1)
        found[away.min(1) > self.reach] = np.nan
        return _or_none(found) / np.tile(self.size, 2)


class PerFrame(NamedTuple):
    """A box, or none, for every frame from 0.

    Attributes:
      boxes: [n, 4] (x0, y0, x1, y1) in fractions of the picture; NaN for none.
    """

    boxes: np.ndarray

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See `Boxes`."""
        if frames.max() >= len(self.boxes):
            raise ValueError(
                f"there are boxes for {len(self.boxes)} frames, and frame "
                f"{frames.max()} is in the clip."
            )
        return _or_none(self.boxes[frames][:, [1, 0, 3, 2]])


def to_clip(
    boxes: np.ndarray, picture: tuple[int, int, int, int], geometry: Geometry
) -> np.ndarray:
    """Follows boxes through cut, resize and crop.

    Rounded outward as Li et al. do it: the near edges down, the far ones up, at most to
    the last pixel. A far edge between two pixels counts the one behind it.

    Args:
      boxes: [T, 4] (top, left, bottom, right), edges in fractions of the picture.
      picture: (top, left, bottom, right) of what was annotated, in pixels of the
        source's frames.
      geometry: from those frames to the clip.

    Returns:
      [T, 4] float32 (y0, x0, y1, x1), inclusive, in pixels of the clip; NaN where there
      is no box, or nothing of it is in the clip.
    """
    corner, opposite = np.reshape(picture, (2, 2))
    cut, end = np.reshape(geometry.box, (2, 2))
    source = np.tile(corner, 2) + boxes * np.tile(opposite - corner, 2)
    scale = np.tile(geometry.resized, 2) / np.tile(end - cut, 2)
    edges = (source - np.tile(cut, 2)) * scale - np.tile(geometry.crop, 2)
    near, far = np.floor(edges[:, :2] + _SLACK), np.ceil(edges[:, 2:] - _SLACK)
    size = np.asarray(geometry.size)
    outside = ~((near < size).all(1) & (far > 0).all(1))  # Also where NaN.
    inside = np.concatenate([near, far], 1).clip(0, np.tile(size - 1, 2))
    inside[outside] = np.nan
    return inside.astype(np.float32)


def _or_none(boxes):
    """Takes a box without an inside for none: annotators leave it at 0, 0, 0, 0."""
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    return np.where(empty[:, None], np.nan, boxes)
