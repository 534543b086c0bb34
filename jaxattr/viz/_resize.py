"""Frames and maps at the size at which people look at them."""

import numpy as np

from jaxattr.viz._movie import pillow


def resize_frames(
    rgb: np.ndarray,
    height: int,
    *,
    window: tuple[float, float, float, float] | None = None,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """uint8 [T, H, W, 3] to `height` rows by Lanczos resampling.

    Args:
      rgb: uint8 [T, H, W, 3].
      height: rows of the result.
      window: (left, top, right, bottom) to take, in pixels; None takes all.
      shape: (H, W) whose aspect the result has; None keeps that of `rgb`.
    """
    image = pillow()
    size = fit(shape or rgb.shape[1:3], height)
    how = {"resample": image.Resampling.LANCZOS, "box": window}
    return np.stack([np.asarray(image.fromarray(f).resize(size, **how)) for f in rgb])


def resize_maps(
    maps: np.ndarray, height: int, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """[T, H, W] in 0..1 to `height` rows, bilinear: it makes no new extremes.

    Args:
      maps: [T, H, W].
      height: rows of the result.
      shape: (H, W) whose aspect the result has; None keeps that of `maps`.
    """
    image = pillow()
    size = fit(shape or maps.shape[1:3], height)
    maps = np.asarray(maps, np.float32)
    filter_ = image.Resampling.BILINEAR
    grown = [np.asarray(image.fromarray(m).resize(size, filter_)) for m in maps]
    return np.clip(np.stack(grown), 0, 1)


def fit(size: tuple[int, ...], height: int) -> tuple[int, int]:
    """(width, height) for (H, W) scaled to `height` rows."""
    return max(1, round(size[1] * height / size[0])), height
