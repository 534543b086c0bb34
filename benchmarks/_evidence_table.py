"""From scores of clips to the table: means over families, intervals, Markdown."""

import collections
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from _evidence_scores import ORACLE, SCORES

from jaxattr import metrics

REFERENCE = "integrated_gradients"
FEW_SCORES = ("sanity", "stability")
_NAMES = {
    "auprc": "AUPRC",
    "iou": "IoU",
    "temporal_iou": "temporal IoU",
    "sanity": "sanity check",
}


def macro(
    families: Sequence[np.ndarray], *, num: int = 10_000, seed: int = 0
) -> metrics.Interval:
    """Mean over families of their means over clips, with a 95 % bootstrap interval.

    Clips are drawn anew within every family; families are not, so the interval is that
    of other clips of these families.

    Args:
      families: a score for every clip, [n] for each family, finite.
      num: draws.
      seed: of NumPy's generator.
    """
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(values.size, size=(num, values.size))].mean(1)
        for values in map(np.asarray, families)
    ]
    low, high = np.quantile(np.mean(means, 0), (0.025, 0.975))
    mean = np.mean([np.mean(values) for values in families])
    return metrics.Interval(float(mean), float(low), float(high))


def summarise(record: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> its line of the table: macro means, differences, cost.

    A clip counts with its mean over the networks for which it is certified.
    """
    names = {name: None for cell in record["cells"] for name in cell["rows"]}
    ran = {name: list(_rows(record, name)) for name in names}
    reference = {_place(cell): row for cell, row in ran.get(REFERENCE, ())}
    table = {}
    for name, pairs in ran.items():
        line = {"cells": len(pairs)}
        for score in (*SCORES, *FEW_SCORES):
            line[score] = _macro(pairs, lambda cell, row, s=score: _values(row, s))
        line["difference"] = {
            score: _macro(
                pairs,
                lambda cell, row, s=score: _minus(
                    row["scores"][s], reference[_place(cell)]["scores"][s]
                ),
            )
            for score in SCORES
            if pairs and all(_place(cell) in reference for cell, _ in pairs)
        }
        line["families"] = {
            family: float(np.mean(values))
            for family, values in _by_family(
                pairs, lambda cell, row: row["scores"]["auprc"]
            ).items()
        }
        line["oracle"] = {
            score: _macro(pairs, lambda cell, row, s=score: row["oracle"][s])
            for score in ORACLE
        }
        line["not_finite"] = sum(row["not_finite"] for _, row in pairs)
        table[name] = line
    return table


def markdown(record: Mapping[str, Any]) -> str:
    """The tables of a record: main, by family, oracle, and what was certified."""
    table, cells = record["table"], [c for c in record["cells"] if c["samples"]]
    families = list(dict.fromkeys(cell["family"] for cell in cells))
    ran = {name: line for name, line in table.items() if line["cells"]}
    ran = dict(sorted(ran.items(), key=lambda item: -item[1]["auprc"]["mean"]))
    rows = {name: _first_row(record, name) for name in ran}
    seconds = record.get("seconds", {}).get("lines", {})
    labels = {
        name: _label(name, line, rows[name], len(cells)) for name, line in ran.items()
    }

    heads = ["method", *(_NAMES.get(score, score) for score in (*SCORES, *FEW_SCORES))]
    main = [
        [
            labels[name],
            *(_cell(line, score) for score in SCORES),
            *(_interval(line[score]) for score in FEW_SCORES),
            f"{rows[name]['gradients']:g}" if rows[name]["gradients"] else "–",
            f"{seconds[name]:.3g}" if name in seconds else "–",
        ]
        for name, line in ran.items()
    ]
    by_family = [
        [labels[name], *(_short(line["families"].get(f)) for f in families)]
        for name, line in ran.items()
    ]
    oracle = [
        [
            f"{name}, oracle area",
            "told" if rows[name]["oracle"]["told"] == "areas" else "cut there",
            *(_interval(line["oracle"][score]) for score in ORACLE),
        ]
        for name, line in ran.items()
    ]
    certified = [
        [
            cell["network"],
            cell["family"],
            str(len(cell["samples"])),
            str(cell["looked"]),
            f"{cell['rejected']:.1%}",
            f"{cell['evidence_share']:.1%}" if cell["samples"] else "–",
        ]
        for cell in record["cells"]
    ]
    parts = [
        _facts(record),
        _table([*heads, "gradients", "seconds"], main),
        "AUPRC by family:",
        _table(["method", *families], by_family),
        "Given the true volume:",
        _table(["method", "volume", *(_NAMES[s] for s in ORACLE)], oracle),
        "Certified clips:",
        _table(
            ["network", "family", "clips", "looked at", "rejected", "evidence"],
            certified,
        ),
        *_refusals(record),
    ]
    return "\n\n".join(parts)


def _rows(record, name) -> Iterator[tuple[Mapping, Mapping]]:
    """The cells in which a line has scores, and these."""
    for cell in record["cells"]:
        row = cell["rows"].get(name)
        if row is not None and "refused" not in row:
            yield cell, row


def _first_row(record, name):
    return next(row for _, row in _rows(record, name))


def _place(cell):
    return cell["family"], cell["network"]


def _values(row, score):
    return row[score] if score in FEW_SCORES else row["scores"][score]


def _minus(values, others):
    return [a - b for a, b in zip(values, others)]


def _by_family(
    pairs, get: Callable[[Mapping, Mapping], Sequence[float | None]]
) -> dict[str, np.ndarray]:
    """Family -> a value for every clip, its mean over networks."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for cell, row in pairs:
        for sample, value in zip(cell["samples"], get(cell, row)):
            if value is not None:
                found[cell["family"]][sample].append(value)
    return {
        family: np.array([np.mean(samples[i]) for i in sorted(samples)])
        for family, samples in found.items()
    }


def _macro(pairs, get):
    families = _by_family(pairs, get)
    return macro(list(families.values()))._asdict() if families else None


def _label(name, line, row, num_cells):
    areas = row["settings"].get("areas")
    label = name
    if areas and "=" not in name:
        label = f"{name} ({', '.join(map(str, areas))})"
    if line["cells"] < num_cells:
        label += f" — {line['cells']} of {num_cells} cells"
    if line["not_finite"]:
        label += f" — {line['not_finite']} not finite"
    return label


def _cell(line, score):
    difference, mark = line["difference"].get(score), ""
    if difference is not None:
        mark = " ▲" * (difference["low"] > 0) + " ▼" * (difference["high"] < 0)
    return _interval(line[score]) + mark


def _interval(estimate):
    if estimate is None:
        return "–"
    return "{mean:.2f} [{low:.2f}, {high:.2f}]".format(**estimate)


def _short(value):
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def _table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _facts(record):
    machine, timed = record["machine"], record.get("seconds", {})
    cells = [cell for cell in record["cells"] if cell["samples"]]
    text = (
        f"Split `{record['split']}`, {len(cells)} cells of family and network, "
        f"{sum(len(cell['samples']) for cell in cells)} certified clips; "
        f"{record['date']}, {machine['device']} ({machine['processor']}, "
        f"{machine['cores']} cores), jax {machine['jax']}; settings "
        f"{record['hash'][:12]}. Means over families with 95 % bootstrap intervals "
        "over clips. Larger is better, but for the sanity check; ▲ ▼: better or "
        f"worse than `{REFERENCE}`, the paired interval excluding 0."
    )
    if timed:
        loads = [timed[when][0] for when in ("load before", "load after")]
        text += (
            f" Seconds for one clip on `{timed['network']}`, load {loads[0]:.1f} to "
            f"{loads[1]:.1f} while timing."
        )
    return text


def _refusals(record):
    """What each line said where it has no scores, once."""
    said = {}
    for cell in record["cells"]:
        for name, row in cell["rows"].items():
            if "refused" in row:
                said.setdefault((name, row["refused"]), []).append(_place(cell))
    return [
        f"`{name}` has no scores in {len(places)} cells: {text}"
        for (name, text), places in said.items()
    ]
