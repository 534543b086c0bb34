"""What the records say beyond the table: the study's headline, and who hides how.

Declared before any clip of the split "test" was scored. Headline of the video study:
methods rank differently, even oppositely, by objective metrics (`insertion`) and by
localisation (`peak`, the pointing game; `auprc`, the primary score). Controls do not
count. It "holds" if the 95 % interval of Kendall's tau over clips lies below 0,
"fails" if it lies above, and is "undecided" otherwise.
"""

import inspect
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
# What a method must be able to see; the first that names it, or else by its family.
SEES = {
    "outputs": ("rise", "occlusion", "lime", "kernel_shap", "greedy_regions"),
    "outputs, a layer": ("score_cam",),
    "a layer": ("cam", "saliency_tubes", "masking_model"),
    "layers": ("class_feature_pyramids",),
    "gradients, layers": ("perceptual_ball", "channel_extremal_perturbation"),
    "the program": ("fgvis", "guided_grad_cam"),
    "attention maps": ("attention_rollout",),
}
FAMILY_SEES = {
    "control": "the clip",
    "gradient": "gradients",
    "perturbation": "gradients",
    "layers": "gradients, a layer",
    "rules": "the program",
    "attention": "gradients, attention maps",
}
SETTINGS = ("perturbation", "substitute", "baseline")  # Of methods that hide voxels.
ALIKE = {"fade": "mean", 0.0: "mean"}  # Grey is 0 in network units.


def headline(records: Iterable[Mapping[str, Any]]) -> str:
    """Markdown: do objective and localisation metrics rank the methods oppositely?"""
    asked = (r for r in records if RUNNABLE[_name(r["method"])].family != "control")
    metrics = [*OBJECTIVE, *LOCALISATION]
    (table,) = evaluation.tabulate(asked, metrics=metrics)
    lines = [
        "## Do objective and localisation rankings disagree?",
        "",
        f"Kendall's tau-b over {len(table.methods)} methods, controls left out. That "
        "they do holds where the interval lies below 0, and fails where above.",
        "",
        "| objective | localisation | tau | disagreement |",
        "| --- | --- | --- | --- |",
    ]
    for one in OBJECTIVE:
        for other in LOCALISATION:
            at = metrics.index(one), metrics.index(other)
            tau, low, high = (part[at] for part in table.tau)
            said = "holds" if high < 0 else "fails" if low > 0 else "undecided"
            lines.append(
                f"| {one} | {other} | {tau:.2f} [{low:.2f}, {high:.2f}] | {said} |"
            )
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
            cells.append(f"**{value:.3f}**" if own else f"{value:.3f}")
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
        cells = [f"{cost:.3g}" for cost in costs]
        cells += [f"{table.scores.mean[row, place]:.2f}" for place in places]
        lines.append(f"| {label} | {_sees(_name(label))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _sees(name):
    return next(
        (what for what, names in SEES.items() if name in names),
        FAMILY_SEES[RUNNABLE[name].family],
    )


def _name(label):
    return label.partition(" ")[0]  # A variant's begins with its method's.


def _hides(method):
    if method["name"] == "blur_integrated_gradients":
        return "blur"
    known = RUNNABLE[method["name"]]
    parameters = inspect.signature(known.transform).parameters
    for name in SETTINGS:
        if name in parameters:
            value = {**known.settings, **method}.get(name, parameters[name].default)
            return ALIKE.get(value, value)
    return None
