"""EPIC-Kitchens-55: actions in long videos, and boxes around what they are done to."""

import functools
import os
import pathlib
import re
from typing import Literal

import numpy as np

from jaxattr.data._boxes import Keyed
from jaxattr.data._decode import ClipSpec
from jaxattr.data._images import FORMATS
from jaxattr.data._sample import MissingAnnotation
from jaxattr.data._tables import integer, literal, read_rows
from jaxattr.data._video_samples import Clip, VideoSamples, locate, need_file

_SIZE = (1080, 1920)  # Of the pictures that were annotated.
_LAYOUT = """\
Bring EPIC-Kitchens-55, frames or videos from https://epic-kitchens.github.io and the
tables from https://github.com/epic-kitchens/epic-kitchens-55-annotations:
  P01/P01_01/frame_0000000001.jpg, or P01/P01_01.MP4, or a folder per segment,
  P01/P01_01/P01_01_<uid>-<verb>-<noun>/frame_0000000123.jpg
  EPIC_train_action_labels.csv, EPIC_train_object_labels.csv"""
_SHARED = ("video_id", "start_frame", "stop_frame")


def epic_kitchens(
    folder: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    segments: str | os.PathLike[str] = "EPIC_train_action_labels.csv",
    objects: str | os.PathLike[str] | None = None,
    label: Literal["noun", "verb"] = "noun",
    reach: int = 15,
    fps: float = 59.94,
) -> VideoSamples:
    """Reads segments of EPIC-Kitchens-55, by noun or verb, with boxes of their object.

    Bring frames or videos from https://epic-kitchens.github.io and the tables from
    https://github.com/epic-kitchens/epic-kitchens-55-annotations, in one folder:

        P01/P01_01/frame_0000000001.jpg, as published: much faster than P01/P01_01.MP4
        EPIC_train_action_labels.csv, EPIC_train_object_labels.csv

    Or a folder per segment, `P01/P01_01/P01_01_<uid>-<verb>-<noun>/`, whose frames keep
    their numbers. `segments` may also be a table in the form of Li et al., with columns
    seg_id, video_id, noun_label or verb_label, start_frame, stop_frame and
    bounding_boxes, a dict from frame to (top, left, height, width) or a list of them.

    Args:
      folder: with the participants' folders.
      spec: of the network the clips are for, such as `net.spec`.
      segments: table of the segments; a relative path is one within the folder.
      objects: table of the published boxes, such as EPIC_train_object_labels.csv; None
        leaves clips without boxes, unless `segments` has them.
      label: whether "noun" or "verb" is the target. The boxes are the noun's in both.
      reach: a frame takes the box of the nearest annotated frame, of which there is one
        in 30, if it is at most so many frames away. Half the distance, as here, boxes
        every frame; the code of Li et al. has 3.
      fps: of the videos, for a `spec` that samples at a rate of its own.

    Returns:
      Samples with random access, named <video_id>_<uid>. Of several boxes in a frame
      `boxes` has the one that is listed last.

    Raises:
      FileNotFoundError: a table is missing; from a sample, its frames.
      ValueError: a table that cannot be read; from a sample, an annotation that cannot,
        or that none of its frames has one.

    References:
      Damen et al., "Scaling Egocentric Vision: The EPIC-KITCHENS Dataset", ECCV 2018,
      https://arxiv.org/abs/1804.02748. Li et al., "Towards Visually Explaining Video
      Understanding Networks with Perturbation", WACV 2021,
      https://arxiv.org/abs/2005.00375.
    """
    if label not in ("noun", "verb"):
        raise ValueError(f"`label` must be 'noun' or 'verb', got {label!r}.")
    if reach < 0:
        raise ValueError(f"`reach` must be at least 0 frames, got {reach}.")
    root = pathlib.Path(folder)
    table = need_file(root / segments, "the table of segments", _LAYOUT)
    rows = read_rows(table, _SHARED)
    study = bool(rows) and "seg_id" in rows[0]
    uid, target = ("seg_id", f"{label}_label") if study else ("uid", f"{label}_class")
    missing = [c for c in (uid, target) if rows and c not in rows[0]]
    if missing:
        raise ValueError(f"{str(table)!r} has no column {missing[0]!r}.")
    seen = None
    if objects is not None:
        found = need_file(root / objects, "the table of boxes", _LAYOUT)
        seen = _by_object(found)
    records = [
        (row[uid], row, seen and seen.get((row["video_id"], row.get("noun_class")), ()))
        for row in rows
    ]
    names = [f"{row['video_id']}_{row[uid]}" for row in rows]
    describe = functools.partial(_describe, root, target, reach, fps)
    return VideoSamples(names, records, describe, spec, f"epic_kitchens_{label}")


def _by_object(path):
    """Rows of the published boxes, by video and class of object: frame and cell."""
    columns = ("video_id", "noun_class", "frame", "bounding_boxes")
    seen: dict = {}
    for row in read_rows(path, columns):
        key = row["video_id"], row["noun_class"]
        seen.setdefault(key, []).append((row["frame"], row["bounding_boxes"]))
    return seen


def _describe(root, target, reach, fps, record):
    uid, row, seen = record
    start, stop = integer(row, "start_frame"), integer(row, "stop_frame")
    path, frames, numbers = _frames(root, row["video_id"], uid, start, stop)
    keyed = None
    if seen is not None:
        near = [
            {"frame": frame, "bounding_boxes": cell}
            for frame, cell in seen
            if not frame.isdecimal() or start - reach <= int(frame) <= stop + reach
        ]
        keyed = [(integer(c, "frame"), literal(c, "bounding_boxes")) for c in near]
    elif "bounding_boxes" in row:
        cell = literal(row, "bounding_boxes") if row["bounding_boxes"] else {}
        if not isinstance(cell, dict):
            raise ValueError("`bounding_boxes` must be a dict from frame to boxes.")
        keyed = list(cell.items())
    boxes = None if keyed is None else _keyed(keyed, reach)
    return Clip(path, integer(row, target), boxes, frames, numbers, fps)


def _keyed(cells, reach) -> Keyed:
    if not cells:
        raise MissingAnnotation(
            "the annotation is missing: no box in any of its frames."
        )
    try:
        frames = np.array([int(frame) for frame, _ in cells])
        boxes = np.array([_last(cell) for _, cell in cells], np.float64).reshape(-1, 4)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            "`bounding_boxes` must be (top, left, height, width), or a list of such, "
            f"got {cells!r:.120}."
        ) from error
    order = frames.argsort(kind="stable")
    return Keyed(frames[order], boxes[order], _SIZE, reach)


def _last(cell):
    """The last box of a cell, which may be the box itself; NaN if there is none."""
    if len(cell) == 0:
        return (np.nan,) * 4
    box = cell[-1] if isinstance(cell[-1], tuple | list) else cell
    if len(box) != 4:
        raise ValueError(f"{box!r} is not a box.")
    return box


def _frames(root, video, uid, start, stop):
    """Where a segment's frames are: the source, their places in it, their numbers."""
    if stop < start:
        raise ValueError(f"it starts at frame {start} and stops at {stop}.")
    place = root / video.partition("_")[0]
    own = [p for p in (place / video).glob(f"{video}_{uid}*") if p.is_dir()]
    own = [p for p in own if p.name.removeprefix(f"{video}_{uid}")[:1] in ("", "-")]
    path = own[0] if own else locate(place, video)
    if not path.is_dir():
        numbers = np.arange(start, stop + 1)
        return path, numbers - 1, numbers  # The first frame of a video is number 1.
    pictures = [p.stem for p in path.iterdir() if p.suffix.lower() in FORMATS]
    found = [re.search("[0-9]+$", stem) for stem in pictures]
    there = np.array(sorted(int(m[0]) for m in found if m), np.int64)
    inside = np.flatnonzero((there >= start) & (there <= stop))
    if not len(inside):
        raise FileNotFoundError(
            f"{str(path)!r} has no frame from {start} to {stop}, as in "
            "frame_0000000001.jpg."
        )
    return path, inside, there[inside]
