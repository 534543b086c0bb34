"""Reads what evaluations have found so far: the records of one folder or of several."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxattr.evaluation._folder import FILE
from jaxattr.evaluation._join import find_blocks
from jaxattr.evaluation._metrics import METRICS, Scale
from jaxattr.evaluation._records import read_block


class Results(NamedTuple):
    """What lies in the folders of evaluations.

    Attributes:
      records: read as they are asked for, once; in the order of the settings.
      notes: a line for every data set that was refused or is not done.
      scales: range and chance level of the metrics, by label.
    """

    records: Iterator[dict[str, Any]]
    notes: tuple[str, ...]
    scales: Mapping[str, Scale]


def read_results(*outs: str | pathlib.Path) -> Results:
    """Reads the records of evaluations, whether they are done or not.

    Args:
      *outs: folders that `evaluate` wrote.

    Raises:
      ValueError: a folder is not that of an evaluation, or its records are damaged.
    """
    if not outs:
        raise ValueError("`outs` must name at least one folder of an evaluation.")
    blocks, notes, scales = [], [], {}
    for out in map(pathlib.Path, outs):
        if not (out / FILE).exists():
            raise ValueError(
                f"`outs` has {str(out)!r}, which is no evaluation: no {FILE}."
            )
        kept = json.loads((out / FILE).read_text("utf-8"))
        settings = kept["settings"]
        for label, metric in settings["metrics"].items():
            if metric["name"] in METRICS:  # Else of another release.
                scales[label] = METRICS[metric["name"]].scale
        found = find_blocks(out, len(settings["methods"]) * len(settings["metrics"]))
        for network in settings["networks"]:
            for data in settings["data"]:
                cell = found.get((network, data), {})
                blocks += [cell[index] for index in sorted(cell)]
                clips = kept["clips"].get(network, {}).get(data)
                note = _note(clips, len(cell))
                notes += [f"{network} on {data}: {note}"] if note else []
    return Results(_read(blocks), tuple(notes), scales)


def _read(blocks: Sequence[Any]):
    for path, block in blocks:
        yield from read_block(path, block)


def _note(clips, done):
    if clips is None:
        return "not begun."
    if clips["refused"]:
        return f"refused, {clips['refused']}"
    return f"{done} of {clips['num']} clips are done." if done < clips["num"] else ""
