"""The tables of the audit, from its records."""

from collections.abc import Mapping, Sequence
from typing import Any

import _audit
import _maps

_HEAD = (
    "metric",
    "better, range",
    "truth",
    "map",
    "noise (chance)",
    "evidence > map (0.5)",
    "truth > map (0.5)",
    "map > noise (0.5)",
    "truth > worst control (0.5)",
    "blurring the map",
    "blurring noise",
    "correlation with truth (0)",
    "alpha (chance)",
    "n",
    "trust",
)

_TRUST = ("yes", "with care", "no", "undecided")


def verdicts(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> str:
    """One verdict for every metric, the worst of several audits, as Markdown.

    Args:
      names: what each audit was run on.
      records: of the audits, all of the same metrics.
    """
    head = ("metric", "trust", *names, "why not more")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    rows = []
    for metric in records[0]["rows"]:
        found = [record["rows"][metric]["trust"] for record in records]
        words = [text.partition(":")[0] for text in found]
        reasons = ", ".join(text.partition(":")[2].strip() for text in found)
        unique = dict.fromkeys(filter(None, reasons.split(", ")))
        worst = max(words, key=_TRUST.index)
        rows.append((worst, metric, f"**{worst}**", *words, ", ".join(unique)))
    for _, *row in sorted(rows, key=lambda row: (_TRUST.index(row[0]), row[1])):
        lines.append(f"| {row[0]} | {' | '.join(row[1:])} |")
    return "\n".join(lines)


def markdown(record: Mapping[str, Any]) -> str:
    """The record as Markdown, the most trusted first."""
    settings, machine = record["settings"], record["machine"]
    found = record["families"]
    total = sum(len(family["indices"]) for family in found.values())
    rejected = ", ".join(f"{n} {found[n]['rejected']:.0%}" for n in found)
    lines = [
        f"{total} certified clips of `{settings['split']}`, "
        f"{settings['clips per family']} per family (rejected: {rejected}); network "
        f"`{settings['network']}`, weights {settings['sha256'][:12]}; map of "
        f"`{settings['method']}`; settings {record['settings_sha256'][:12]}; "
        f"{record['date']}, {machine['device']} ({machine['processor']}), jax "
        f"{machine['jax']}. Means over clips with 95 % bootstrap intervals, paired "
        "where two maps are compared. Truth is the interventional one, evidence what "
        "was drawn; chance of a metric is its score of noise.",
        "",
        f"| {' | '.join(_HEAD)} |",
        "|---" * len(_HEAD) + "|",
    ]
    rows = record["rows"]
    for name in sorted(
        rows, key=lambda n: _TRUST.index(rows[n]["trust"].split(":")[0])
    ):
        lines.append(f"| {' | '.join(_cells(name, rows[name]))} |")
    return "\n".join(lines)


def _cells(name, row):
    scores, above, blurring = row["scores"], row["above"], row["blurring"]
    controls = {c: above[f"interventional > {c}"] for c in _maps.CONTROLS}
    worst = min(controls, key=lambda c: controls[c]["mean"] or 0.0)
    alpha = row["alpha"]
    chance = "" if alpha["chance"] is None else f" ({alpha['chance']:.2f})"
    return [
        name,
        f"{'higher' if row['higher_is_better'] else 'lower'}, {row['range']}",
        _cell(scores["interventional"]),
        _cell(scores["method"]),
        _cell(scores["random"]),
        _cell(above["evidence > method"]),
        _cell(above["interventional > method"]),
        _cell(above["method > random"]),
        f"{_cell(controls[worst])} {worst}",
        _cell(blurring["method"], "+"),
        _cell(blurring["random"], "+"),
        _cell(row["correlation"][_audit.ALIKE]),
        _cell(alpha) + chance,
        str(alpha["n"]),
        row["trust"],
    ]


def _cell(estimate, sign=""):
    if estimate["mean"] is None:
        return "–"
    mean, low, high = (f"{estimate[k]:{sign}.2f}" for k in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
