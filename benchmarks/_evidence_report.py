"""What the records say beyond the table: the study's headline, and who hides how.

Fixed before the records of the study were made, though not before earlier, smaller
tables of the same split had been seen. Headline of the video study: methods rank
differently, even oppositely, by objective metrics (`insertion`) and by localisation
(`peak`, the pointing game; `auprc`, the primary score). Controls do not count. It
"holds" if the 95 % interval of Kendall's tau over clips lies below 0, "fails" if it
lies above, and is "undecided" otherwise.
"""

import collections
import inspect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxattr import evaluation
from jaxattr.evaluation._methods import RUNNABLE

OBJECTIVE = ("insertion", "deletion")
LOCALISATION = ("peak", "auprc", "oracle IoU")
# Column -> what it hides voxels behind.
SUBSTITUTES = {
    "insertion": "mean",
    "insertion, blur": "blur",
    "insertion, black": "black",
    "insertion, noise": "noise",
}
FOUND = ("auprc", "hit", "energy", "insertion")
SETTINGS = ("perturbation", "substitute")  # Of methods that hide voxels.
# Methods that do so, or go the way there, without such a setting; grey is 0 in units of
# the network.
HIDES = {
    "integrated_gradients": "mean",
    "blur_integrated_gradients": "blur",
    "score_cam": "mean",
}


def headline(records: Iterable[Mapping[str, Any]]) -> str:
    """Markdown: do objective and localisation metrics rank the methods oppositely?

    Ranked are methods that explain every network and family, on clips that all of them
    have: once those that explain most clips, once all.
    """
    metrics = [*OBJECTIVE, *LOCALISATION]
    rows = [r for r in records if r["metric"] in metrics and r["status"] == "ok"]
    rows = [r for r in rows if RUNNABLE[_name(r["method"])].family != "control"]
    clips = collections.defaultdict(set)
    for row in rows:
        clips[row["method"]].add((row["network"], row["data"], row["clip"]))
    cells = {clip[:2] for known in clips.values() for clip in known}
    whole = {m: known for m, known in clips.items() if {c[:2] for c in known} == cells}
    most = max(map(len, whole.values()), default=0)
    groups = [[m for m, known in whole.items() if len(known) == most], list(whole)]
    lines = [
        "## Do objective and localisation rankings disagree?",
        "",
        "Kendall's tau-b over methods that explain every network and family, on the "
        "clips that all of them have; controls are left out. That they do holds where "
        "the interval lies below 0, and fails where above; where a family has a single "
        "clip there is no interval.",
        "",
        "| methods | explanations | objective | localisation | tau | disagreement |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for methods in groups[: len({len(group) for group in groups})]:
        if len(methods) < 2:
            continue
        shared = set.intersection(*(whole[method] for method in methods))
        (table,) = evaluation.tabulate(
            (
                r
                for r in rows
                if r["method"] in methods
                and (r["network"], r["data"], r["clip"]) in shared
            ),
            metrics=metrics,
        )
        for one, other in itertools.product(OBJECTIVE, LOCALISATION):
            at = metrics.index(one), metrics.index(other)
            tau, low, high = (part[at] for part in table.tau)
            said = "holds" if high < 0 else "fails" if low > 0 else "undecided"
            around = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
            lines.append(
                f"| {len(methods)} | {len(shared)} | {one} | {other} | "
                f"{tau:.2f}{around} | {said} |"
            )
    return "\n".join(lines) + "\n"


def rejection(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: how many of the clips looked at are not certified."""
    lines = ["## Clips that are not certified", "", "| cell | looked at | rejected |"]
    lines += ["| --- | --- | --- |"]
    lines += [
        f"| {label} | {cell['looked']} | {cell['rejected']:.0%} |"
        for label, cell in cells.items()
    ]
    return "\n".join(lines) + "\n"


def matrix(table: evaluation.Table, methods: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: insertion by substitute; in bold what a method itself hides behind.

    Args:
      table: of all records.
      methods: entries of a settings file.
    """
    hidden = {m.get("label", m["name"]): _hides(m) for m in methods}
    lines = [
        "## Insertion, by what stands where voxels are hidden",
        "",
        "Bold: the method hides voxels in the same way itself.",
        "",
        f"| method | {' | '.join(SUBSTITUTES.values())} |",
        f"| --- |{' --- |' * len(SUBSTITUTES)}",
    ]
    for row, label in enumerate(table.methods):
        cells = []
        for metric, substitute in SUBSTITUTES.items():
            value = table.scores.mean[row, table.metrics.index(metric)]
            own = hidden.get(label) == substitute
            cells.append(f"**{_short(value)}**" if own else _short(value))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def access(table: evaluation.Table) -> str:
    """Markdown: what a method must see of a network, what it costs and finds."""
    lines = [
        "## What a method needs, what it costs and what it finds",
        "",
        f"| method | sees | gradients | MB | {' | '.join(FOUND)} |",
        f"| --- | --- | --- | --- |{' --- |' * len(FOUND)}",
    ]
    places = [table.metrics.index(metric) for metric in FOUND]
    for row, label in enumerate(table.methods):
        costs = table.costs.gradients[row], table.costs.memory[row] / 1e6
        cells = ["–" if math.isnan(cost) else f"{cost:.3g}" for cost in costs]
        cells += [_short(table.scores.mean[row, place]) for place in places]
        lines.append(
            f"| {label} | {RUNNABLE[_name(label)].sees} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def _name(label):
    return label.partition(" ")[0]  # A variant's begins with its method's.


def _hides(method):
    known = RUNNABLE[method["name"]]
    parameters = inspect.signature(known.transform).parameters
    for name in SETTINGS if known.family == "perturbation" else ():
        if name in parameters:
            value = {**known.settings, **method}.get(name, parameters[name].default)
            return "mean" if value == "fade" else value
    return HIDES.get(method["name"])


def _short(value):
    return "–" if math.isnan(value) else f"{value:.3f}"
