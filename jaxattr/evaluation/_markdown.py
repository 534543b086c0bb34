"""Tables as Markdown, rounded for reading."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from jaxattr.evaluation._metrics import Scale
from jaxattr.evaluation._missing import reasons
from jaxattr.evaluation._table import Table

_REASONS = 20  # Lines of what is missing; the CSV has all.


def to_markdown(
    tables: Sequence[Table],
    notes: Sequence[str] = (),
    scales: Mapping[str, Scale] = MappingProxyType({}),
) -> str:
    """Markdown of what `tabulate` returns.

    Args:
      tables: the first with all its tables; of the others only the scores.
      notes: sentences that say what is not in them.
      scales: of metrics, to be told below their scores; see `Results`.
    """
    whole, *parts = tables
    pieces = [_legend(whole), _scores(whole), *(f"- {note}" for note in notes)]
    if any(metric in scales for metric in whole.metrics):
        pieces += ["## What the scores are", _scales(whole, scales)]
    for part in parts:
        pieces += [f"## {part.part}", _scores(part)]
    if len(whole.metrics) > 1:
        pieces += [
            "## Do the metrics order the methods alike?",
            "Kendall's tau-b between metrics over methods, best first in both; 95 % "
            "intervals over clips. In bold: the interval excludes 0.",
            _tau(whole),
        ]
    if whole.reliability is not None:
        pieces += [
            "## Does a metric order the methods alike on every clip?",
            "Reliability alpha, -1 to 1, and that of random orders.",
            _reliability(whole),
        ]
    pieces += [
        "## Quality against cost",
        "Medians of an explanation: evaluations of the network in gradients (a forward "
        "pass is a third), seconds, megabytes beside the weights and the clip; in "
        f"bold: no method is both faster and better in {whole.metrics[0]}.",
        _cost(whole),
    ]
    if whole.missing:
        pieces += ["## What has no score", _missing(whole)]
    return "\n\n".join(pieces) + "\n"


def _legend(table):
    clips = int(table.clips.max(initial=0))
    text = (
        f"{len(table.methods)} methods, {clips} clips in {len(table.groups)} groups. "
        "Means over groups of means over clips of means over networks, with 95 % "
        "bootstrap intervals over clips; ↑ ↓: higher or lower is better; (n): fewer "
        "explanations than other methods have."
    )
    if table.baseline is not None:
        text += (
            f" ▲ ▼: better or worse than `{table.baseline}` on the same explanations, "
            "the paired interval excluding 0."
        )
    return text


def _scores(table: Table):
    arrows = (" ↑" if higher else " ↓" for higher in table.higher)
    heads = ["method", *(name + arrow for name, arrow in zip(table.metrics, arrows))]
    most, marks = table.explanations.max(0), table.marks
    rows = []
    for i, method in enumerate(table.methods):
        row = [method]
        for k in range(len(table.metrics)):
            cell = _interval(*(part[i, k] for part in table.scores))
            cell += {1: " ▲", -1: " ▼"}.get(int(marks[i, k]), "")
            count = int(table.explanations[i, k])
            row.append(f"{cell} ({count})" if 0 < count < most[k] else cell)
        rows.append(row)
    return _table(heads, rows)


def _scales(table, scales):
    rows = [
        [metric, "higher" if higher else "lower", *scales[metric]]
        for metric, higher in zip(table.metrics, table.higher)
        if metric in scales
    ]
    return _table(["metric", "better", "range", "chance"], rows)


def _tau(table):
    rows = []
    for j, metric in enumerate(table.metrics):
        row = [metric]
        for k in range(len(table.metrics)):
            mean, low, high = (part[j, k] for part in table.tau)
            cell = "" if k == j else _interval(mean, low, high)
            row.append(f"**{cell}**" if k != j and (low > 0 or high < 0) else cell)
        rows.append(row)
    return _table(["", *table.metrics], rows)


def _reliability(table):
    rows = [
        [metric, *(_short(values[k]) for values in table.reliability)]
        for k, metric in enumerate(table.metrics)
    ]
    return _table(["metric", "alpha", "chance", "random map is worst"], rows)


def _cost(table):
    quality = table.scores.mean[:, 0] * (1 if table.higher[0] else -1)
    rows = []
    gradients, seconds, memory = table.costs
    for i in np.argsort(seconds, kind="stable"):
        beaten = (seconds < seconds[i]) & (quality >= quality[i])
        beaten |= (seconds <= seconds[i]) & (quality > quality[i])
        first = not beaten.any() and math.isfinite(seconds[i] * quality[i])
        name = f"**{table.methods[i]}**" if first else table.methods[i]
        mean = _interval(*(part[i, 0] for part in table.scores))
        costs = (gradients[i], seconds[i], memory[i] / 1e6)
        rows.append([name, *map(_short, costs), mean])
    heads = ["method", "gradients", "seconds", "MB", table.metrics[0]]
    return _table(heads, rows)


def _missing(table):
    found = reasons(table.missing)
    rows = [
        [
            reason.status,
            reason.message,
            _some(reason.methods, table.methods),
            _some(reason.metrics, table.metrics),
            str(reason.explanations),
            str(sum(reason.pairs.values())),
        ]
        for reason in found[:_REASONS]
    ]
    heads = ["status", "why", "methods", "metrics", "explanations", "records"]
    text = _table(heads, rows)
    left = len(found) - len(rows)
    return text + (f"\n\n{left} more reasons are in the CSV." if left else "")


def _some(labels, known):
    return "all" if len(labels) == len(known) > 1 else ", ".join(labels)


def _interval(mean, low, high):
    if math.isnan(mean):
        return "–"
    return f"{_short(mean)} [{_short(low)}, {_short(high)}]"


def _short(value):
    """Three decimals; three digits of what is larger than 10 or smaller than 0.01."""
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 10 else f"{value:.3g}"


def _table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
