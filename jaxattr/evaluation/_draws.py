"""Macro means and their bootstrap: every score is drawn with the same clips."""

import math

import numpy as np

_BLOCK = 2**22  # Chosen clips held in memory at a time.


def macro_mean(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean over groups of their means over clips.

    Args:
      values: [N, ...], NaN where there is none: such a clip does not count, nor does
        a group without any value.
      groups: [N] integers.

    Returns:
      [...], NaN where there is no value at all.
    """
    flat = _flat(values)
    total, count = np.zeros((2, flat.shape[1]))
    for group in np.unique(groups):
        rows = flat[groups == group]
        known = ~np.isnan(rows)
        _add(total, count, np.where(known, rows, 0).sum(0), known.sum(0))
    return _ratio(total, count).reshape(values.shape[1:])


def macro_draws(
    values: np.ndarray, groups: np.ndarray, *, num: int, seed: int
) -> np.ndarray:
    """The same mean of clips drawn anew, with replacement, within every group.

    A draw takes the same clips for all scores, so that differences between columns
    and their ranks are paired. Of one group these are the draws of
    `metrics.paired_bootstrap`.

    Args:
      values: [N, ...].
      groups: [N] integers.
      num: draws.
      seed: of NumPy's generator.

    Returns:
      [num, ...], NaN where a draw has no value.
    """
    rng = np.random.default_rng(seed)
    flat = _flat(values)
    total, count = np.zeros((2, num, flat.shape[1]))
    for group in np.unique(groups):
        rows = flat[groups == group]
        known = ~np.isnan(rows)
        zeroed, counted = np.where(known, rows, 0), known.astype(np.float64)
        step = max(1, _BLOCK // len(rows))
        for start in range(0, num, step):
            part = slice(start, min(start + step, num))
            times = _times(rng, part.stop - part.start, len(rows))
            _add(total[part], count[part], times @ zeroed, times @ counted)
    return _ratio(total, count).reshape(num, *values.shape[1:])


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of draws [num, ...]; NaN where no draw has a value."""
    flat = _flat(draws)
    ends = np.full((2, flat.shape[1]), np.nan)
    some = ~np.isnan(flat).all(0)
    tail = (1 - level) / 2
    if some.any():
        ends[:, some] = np.nanquantile(flat[:, some], (tail, 1 - tail), axis=0)
    low, high = ends.reshape(2, *draws.shape[1:])
    return low, high


def _flat(values):
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _times(rng, num, size):
    """[num, size] how often each of the clips is drawn."""
    chosen = rng.integers(size, size=(num, size))
    flat = chosen + size * np.arange(num)[:, None]
    counts = np.bincount(flat.ravel(), minlength=num * size)
    return counts.reshape(num, size).astype(np.float64)


def _add(total, count, sums, clips):
    """Adds one group's mean where it has one."""
    some = clips > 0
    total[some] += sums[some] / clips[some]
    count += some


def _ratio(total, count):
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
