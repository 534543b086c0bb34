"""Macro means with intervals, of what is known."""

from typing import NamedTuple

import numpy as np

from jaxattr.evaluation._draws import interval, macro_draws, macro_mean


class Estimates(NamedTuple):
    """Means and their 95 % intervals.

    Attributes:
      mean: NaN where there is no score.
      low: lower end.
      high: upper end.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def estimates(
    by_clip: np.ndarray, groups: np.ndarray, num: int, seed: int
) -> Estimates:
    """[N, A, B] -> [A, B]; one of B at a time, for memory.

    No interval where a group has a single clip: drawing says nothing of it, and a draw
    without it would be of other groups.
    """
    ends = [
        interval(macro_draws(by_clip[..., k], groups, num=num, seed=seed))
        for k in range(by_clip.shape[2])
    ]
    low, high = np.moveaxis(np.array(ends), 0, 2)
    alone = in_a_group_of_one(~np.isnan(by_clip), groups)
    ends = (np.where(alone, np.nan, end) for end in (low, high))
    return Estimates(macro_mean(by_clip, groups), *ends)


def in_a_group_of_one(known: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Whether a group has a single clip: known [N, ...] -> [...]."""
    counts = [known[groups == group].sum(0) for group in set(groups)]
    return (np.array(counts).reshape(-1, *known.shape[1:]) == 1).any(0)


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean along an axis of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
