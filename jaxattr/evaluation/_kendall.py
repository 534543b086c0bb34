"""Kendall's rank correlation of many tables at once, with holes."""

import numpy as np

_BLOCK = 2**21  # Signs held in memory at a time.


def kendall(tables: np.ndarray) -> np.ndarray:
    """Tau-b between columns, over the rows that both have.

    `metrics.rank_correlation` of complete tables; here a method without a score in
    either of two metrics is left out for these two.

    Args:
      tables: [R, M, K], NaN where there is no value.

    Returns:
      [R, K, K], -1..1; NaN where one column has no order over the common rows.
    """
    num, methods, columns = tables.shape
    first, second = np.triu_indices(methods, 1)
    out = np.full((num, columns, columns), np.nan)
    step = max(1, _BLOCK // max(1, len(first) * columns))
    for start in range(0, num, step):
        part = tables[start : start + step]
        signs = np.sign(part[:, first] - part[:, second])
        known = ~np.isnan(signs)
        signs = np.where(known, signs, 0)
        products = signs.swapaxes(1, 2) @ signs
        # Pairs of rows that both columns have, and that one of them orders.
        ordered = (signs**2).swapaxes(1, 2) @ known.astype(np.float64)
        scale = np.sqrt(ordered * ordered.swapaxes(1, 2))
        np.divide(products, scale, where=scale > 0, out=out[start : start + step])
    return out
