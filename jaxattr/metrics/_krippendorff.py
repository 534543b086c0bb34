"""Krippendorff's alpha: agreement of coders, some of whose values may be missing."""

from typing import Literal, get_args

import numpy as np

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(table: np.ndarray, *, level: Level = "nominal") -> float:
    r"""Measures how far coders agree beyond chance, :math:`1 - D_o / D_e`.

    :math:`D_o` is the disagreement observed between values of one unit, :math:`D_e`
    that expected between values drawn from all units. To ask whether clips rank methods
    alike, let clips be the coders, methods the units, and ranks the values.

    Args:
      table: [coders, units]; NaN where a coder gave no value. Units with fewer than two
        values do not count.
      level: what values mean. "nominal": names; "ordinal": ranks; "interval":
        numbers. Time and memory grow with the square of the number of distinct values.

    Returns:
      1 for perfect agreement, 0 for chance, below 0 for systematic disagreement; higher
      is better. NaN where all values are the same: nothing could disagree. For few
      coders and units no value but 1 means much: bootstrap the units.

    Raises:
      ValueError: not a table, infinite values, an unknown level, no unit with two
        values.

    References:
      Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011,
      https://repository.upenn.edu/handle/20.500.14332/2089.
    """
    if level not in get_args(Level):
        raise ValueError(f"`level` must be one of {get_args(Level)}, got {level!r}.")
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or np.isinf(table).any():
        raise ValueError(
            "`table` must be [coders, units], finite or NaN, got shape "
            f"{table.shape} with {np.isinf(table).sum()} infinite values."
        )
    table = table[:, (~np.isnan(table)).sum(0) > 1]
    if not table.size:
        raise ValueError("`table` holds no unit with two values: nothing can agree.")
    values = np.unique(table[~np.isnan(table)])
    # How many coders gave a value to a unit: [values, units].
    counts = (table[None] == values[:, None, None]).sum(1)
    per_unit = counts.sum(0)
    # Pairs of values within a unit, each unit weighing as much as it has values.
    coincidences = (counts / (per_unit - 1)) @ counts.T
    coincidences -= np.diag((counts / (per_unit - 1)).sum(1))
    totals = coincidences.sum(0)
    distance = _DISTANCE[level](values, totals)
    observed = (coincidences * distance).sum()
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    return float(1 - observed / expected) if expected else np.nan


def _ordinal(values, totals):
    """Squared number of values in between, the ends counting half."""
    middle = np.cumsum(totals) - totals / 2
    return (middle[:, None] - middle) ** 2


_DISTANCE = {
    "nominal": lambda values, totals: (values[:, None] != values).astype(np.float64),
    "ordinal": _ordinal,
    "interval": lambda values, totals: (values[:, None] - values) ** 2,
}
