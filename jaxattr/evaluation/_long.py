"""Tables as CSV: a number a line, with all digits."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from jaxattr.evaluation._missing import reasons
from jaxattr.evaluation._table import Table

_HEADS = ("part", "table", "row", "column", "mean", "low", "high", "clips", "of")


def to_csv(tables: Sequence[Table]) -> str:
    """CSV of what `tabulate` returns, as long data.

    Columns: `part`; `table`: "score", "difference" (from the baseline), "kendall",
    "reliability", "gradients", "seconds", "memory" or "missing"; `row` and `column`,
    which are method and metric, two metrics, or metric and what is said of it; `mean`,
    `low`, `high`; `clips`; `of`, the explanations. What is not known is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADS)
    for table in tables:
        for line in _lines(table):
            writer.writerow([table.part, *map(_number, line)])
    return text.getvalue()


def _lines(table: Table):
    for i, method in enumerate(table.methods):
        for k, metric in enumerate(table.metrics):
            count = int(table.clips[i, k]), int(table.explanations[i, k])
            estimate = (part[i, k] for part in table.scores)
            yield "score", method, metric, *estimate, *count
            if table.differences is not None:
                estimate = (part[i, k] for part in table.differences)
                yield "difference", method, metric, *estimate, *count
    for j, one in enumerate(table.metrics):
        for k, other in enumerate(table.metrics):
            if j != k:
                yield "kendall", one, other, *(p[j, k] for p in table.tau), "", ""
    if table.reliability is not None:
        for k, metric in enumerate(table.metrics):
            for name, values in table.reliability._asdict().items():
                yield "reliability", metric, name, values[k], "", "", "", ""
    for name, values in table.costs._asdict().items():
        for method, value in zip(table.methods, values):
            yield name, method, "median", value, "", "", "", ""
    for reason in reasons(table.missing):
        why = f"{reason.status}: {reason.message}" if reason.message else reason.status
        for method, metric in sorted(reason.pairs):
            count = reason.pairs[method, metric]
            yield "missing", f"{method} / {metric}", why, "", "", "", "", count


def _number(value):
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else repr(float(value))
    return value
