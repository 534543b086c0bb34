"""One map of a long video, from the maps of its windows."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np


def stitch(
    maps: Iterable[np.ndarray], starts: Sequence[int], num_frames: int
) -> np.ndarray:
    """Puts maps of windows together, averaged where windows overlap.

    Average maps only that are on one scale: of one method and one target, raw.

    Args:
      maps: [W, T, ...] or any iterable of W maps [T, ...], which is read once, so that
        they need not be in memory together.
      starts: [W] first frame of each window, such as `windows(...).starts`.
      num_frames: N, frames of the whole.

    Returns:
      [N, ...] float32, or float64 where the maps are; NaN in frames of no window.

    Raises:
      ValueError: maps that differ in number from `starts`, or in shape, or that do not
        lie within N frames.
    """
    total, count = None, np.zeros(num_frames, np.int64)
    dtype, shape = np.dtype(np.float32), ()
    for start, one in itertools.zip_longest(starts, maps):
        if start is None or one is None:
            raise ValueError(f"`maps` must be as many as `starts`, {len(starts)}.")
        one = np.asarray(one)
        if total is None:
            shape, dtype = one.shape, np.result_type(dtype, one.dtype)
            total = np.zeros((num_frames, *shape[1:]), np.float64)
        if one.shape != shape:
            raise ValueError(
                f"`maps` must be of one shape, got {one.shape} after {shape}."
            )
        if not 0 <= start <= num_frames - len(one):
            raise ValueError(
                f"`starts` has a window of frames {start} to {start + len(one) - 1}, "
                f"and there are {num_frames}."
            )
        total[start : start + len(one)] += one
        count[start : start + len(one)] += 1
    if total is None:
        raise ValueError("`maps` must hold at least one map.")
    count = count.reshape(-1, *[1] * (total.ndim - 1))
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return mean.astype(dtype)
