"""The file of results: what determined every number, and resuming from it."""

import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import _evidence_lines
import _evidence_masking
import _evidence_scores
from _evidence_cells import Cell
from _evidence_lines import Line

from jaxattr.data import evidence


def row_settings(line: Line, cell: Cell, split: str, repeats: int) -> dict[str, Any]:
    """Everything that determines the scores of a line on a cell, but for the code."""
    shape = (evidence.NUM_FRAMES, evidence.HEIGHT, evidence.WIDTH)
    taught = {"taught": _evidence_masking.settings()}
    return (taught if "params" in line.needs else {}) | {
        "split": split,
        "family": cell.family,
        "network": cell.network.label,
        "sha256": cell.network.sha256,
        "samples": cell.indices.tolist(),
        "method": line.name,
        "settings": dict(line.settings),
        "needs": list(line.needs),
        "baselines": _evidence_lines.BASELINES,
        "heatmap": dict(line.heatmap(shape)),
        "repeats": repeats if line.random else 1,
        "tolerance": _evidence_scores.TOLERANCE,
        "insertion": _evidence_scores.INSERTION,
        "few": _evidence_scores.FEW,
        "noise": _evidence_scores.GREY_LEVEL,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("jax", "jaxlib", "jaxattr")
        },
    }


def digest(settings: Any) -> str:
    """SHA-256 of settings; the order in which they are written does not matter."""
    text = json.dumps(settings, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def read_rows(path: str | os.PathLike | None) -> dict[str, dict[str, Any]]:
    """The rows of an earlier run, by the hash of their settings."""
    if path is None or not pathlib.Path(path).exists():
        return {}
    cells = json.loads(pathlib.Path(path).read_text()).get("cells", ())
    return {row["hash"]: row for cell in cells for row in cell["rows"].values()}


def write(path: str | os.PathLike | None, record: Mapping[str, Any]) -> None:
    """Writes the record as JSON, lists of numbers in one line, whole or not at all."""
    if path is None:
        return
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, default=repr, allow_nan=False)
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda m: " ".join(m[0].split()), text)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text + "\n")
    temporary.replace(path)
