"""Rank correlation: do metrics order the methods alike?"""

from typing import Literal, get_args

import numpy as np

Kind = Literal["spearman", "kendall"]


def rank_correlation(table: np.ndarray, *, kind: Kind = "spearman") -> np.ndarray:
    """Correlates the columns of a table by the order of their rows.

    Columns are usually metrics and rows methods, each a mean over clips: two metrics
    that measure the same thing order the methods alike. Turn the sign of metrics for
    which lower is better first.

    Args:
      table: [N, M], finite; N at least 2.
      kind: "spearman", the Pearson correlation of ranks, equal values sharing their
        mean rank; or "kendall", tau-b: concordant less discordant pairs, corrected for
        ties, which counts swaps and is easier to read for few rows.

    Returns:
      [M, M] symmetric, -1 (opposite order) to 1 (same order), 0 for unrelated columns;
      the standard deviation under chance is 1 / sqrt(N - 1) for Spearman. NaN where a
      column is constant: it has no order.

    Raises:
      ValueError: not [N, M], fewer than two rows, values that are not finite, an
        unknown kind.

    References:
      Kendall, "Rank Correlation Methods", 1948; Tomsett et al., "Sanity Checks for
      Saliency Metrics", AAAI 2020, https://arxiv.org/abs/1912.01451, who compare
      metrics so.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {kind!r}.")
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or len(table) < 2 or not np.isfinite(table).all():
        raise ValueError(
            "`table` must be finite [N, M] with N at least 2, got shape "
            f"{table.shape} with {np.count_nonzero(~np.isfinite(table))} not finite."
        )
    products = _SUMS[kind](table)
    scale = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore"):  # 0 / 0: constant columns.
        return products / np.outer(scale, scale)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks 1 to N of values [N], ascending; equal values share their mean rank."""
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + upto + 1) / 2


def _spearman(table):
    ranks = np.stack([average_ranks(column) for column in table.T], 1)
    ranks -= (len(table) + 1) / 2
    return ranks.T @ ranks


def _kendall(table):
    """Sum over pairs of rows of the product of the signs of two columns."""
    total = np.zeros((table.shape[1],) * 2)
    for row in table:
        signs = np.sign(table - row)
        total += signs.T @ signs
    return total


_SUMS = {"spearman": _spearman, "kendall": _kendall}
