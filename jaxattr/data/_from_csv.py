"""Anybody's own clips: a folder, and a table that says what is in it."""

import functools
import json
import os
import pathlib
from typing import Any

import numpy as np

from jaxattr.data._boxes import FARTHEST, PerFrame
from jaxattr.data._decode import ClipSpec
from jaxattr.data._sample import MissingAnnotation
from jaxattr.data._tables import integer, read_rows
from jaxattr.data._video_samples import Clip, VideoSamples, need_file

_LAYOUT = """\
It is a comma-separated table with a header, one clip per line:
  path,target[,name][,boxes][,region]
with paths relative to the folder; see jaxattr.data.from_csv."""


def from_csv(
    folder: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    table: str = "clips.csv",
    group: str | None = None,
) -> VideoSamples:
    """Reads your own clips: a folder of them, with a table in it.

    The table is comma-separated and has a header, with the columns

    - `path`: of a video, GIF or folder of frames, relative to the folder;
    - `target`: the class to explain, from 0;
    - `name`: of the clip; without this column, its path;
    - `boxes`: JSON, for each frame of the source in order [x0, y0, x1, y1] in
      fractions of its width and height, or null. An empty cell is a missing annotation:
      that clip raises ValueError;
    - `region`: JSON, [top, left, bottom, right] in pixels of the source, cut out before
      anything else; `boxes` are fractions of it. An empty cell is the whole picture.

    The last three are optional.

    Args:
      folder: with the clips and the table.
      spec: of the network the clips are for, such as `net.spec`.
      table: name of the table in the folder.
      group: name of the data set; None for the folder's name.

    Returns:
      Samples with random access.

    Raises:
      FileNotFoundError: there is no table; from a sample, no clip.
      ValueError: the table cannot be read; from a sample, a cell of it.
    """
    root = pathlib.Path(folder)
    rows = read_rows(need_file(root / table, "the table", _LAYOUT), ("path", "target"))
    names = [row.get("name") or row["path"] for row in rows]
    describe = functools.partial(_describe, root)
    return VideoSamples(
        names, rows, describe, spec, root.resolve().name if group is None else group
    )


def _describe(root, row):
    region = row.get("region") and _numbers(row["region"], "region", 4)
    boxes = None
    if "boxes" in row:
        boxes = PerFrame(_boxes(row["boxes"]))
    return Clip(
        root / row["path"],
        integer(row, "target"),
        boxes=boxes,
        region=tuple(int(side) for side in region) if region else None,
    )


def _boxes(cell) -> np.ndarray:
    if not cell:
        raise MissingAnnotation("the annotation is missing: its cell `boxes` is empty.")
    boxes = _json(cell, "boxes")
    if not isinstance(boxes, list) or not boxes:
        raise ValueError(f"`boxes` must list a box or null per frame, got {cell[:80]}.")
    return np.asarray([[np.nan] * 4 if box is None else _box(box) for box in boxes])


def _box(box) -> list[float]:
    _check(box, "boxes", 4)
    if max(map(abs, box)) > FARTHEST:
        raise ValueError(
            "`boxes` must be [x0, y0, x1, y1] in fractions of width and height, got "
            f"{box!r:.80}."
        )
    return box


def _numbers(cell, column, count):
    return _check(_json(cell, column), column, count)


def _check(values: Any, column, count) -> list[float]:
    good = isinstance(values, list) and len(values) == count
    if not good or not all(type(v) in (int, float) and abs(v) < 1e6 for v in values):
        raise ValueError(f"`{column}` must be {count} numbers, got {values!r:.80}.")
    return values


def _json(cell, column):
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"`{column}` must be JSON, got {cell[:80]!r}.") from None
