"""Something-Something v2: what people do with things, told apart by the motion."""

import functools
import os
import pathlib
from typing import Literal

from jaxattr.data._decode import ClipSpec
from jaxattr.data._tables import read_json
from jaxattr.data._video_samples import Clip, VideoSamples, locate, need_file

_FPS = 12.0  # Of every video.
_LAYOUT = """\
Bring Something-Something V2 from Qualcomm (https://www.qualcomm.com/developer/software/
something-something-v-2-dataset), unpacked into one folder:
  20bn-something-something-v2/<id>.webm (or a folder of frames of that name)
  labels/labels.json, train.json, validation.json, or these as
  something-something-v2-labels.json and so on"""


def something_something(
    folder: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    split: Literal["train", "validation"] = "validation",
    annotations: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> VideoSamples:
    """Reads Something-Something v2, or a subset of it.

    Bring it from
    https://www.qualcomm.com/developer/software/something-something-v-2-dataset, the
    videos and the labels, unpacked into one folder:

        20bn-something-something-v2/<id>.webm
        labels/labels.json, train.json, validation.json

    The labels' older names, `something-something-v2-labels.json` and so on, do as well,
    and so do folders of frames `<id>/`.

    Args:
      folder: with both of them.
      spec: of the network the clips are for, such as `net.spec`.
      split: "train" or "validation"; the labels of the test split are secret.
      annotations: another list of clips [{"id", "template"}], such as that of a subset.
      labels: another table {template: index}, such as that of a subset's classes.

    Returns:
      Samples with random access, without boxes. `target` is the index of the clip's
      template, less its brackets, in `labels`.

    Raises:
      FileNotFoundError: the folder lacks a list; from a sample, its video.
      ValueError: an unknown split, or a list that cannot be read; from a sample, a
        template that is not in `labels`.

    References:
      Goyal et al., "The 'something something' video database for learning and
      evaluating visual common sense", ICCV 2017, https://arxiv.org/abs/1706.04261.
    """
    if split not in ("train", "validation"):
        raise ValueError(f"`split` must be 'train' or 'validation', got {split!r}.")
    root = pathlib.Path(folder)
    clips = read_json(_list(root, split) if annotations is None else _own(annotations))
    table = read_json(_list(root, "labels") if labels is None else _own(labels))
    if not isinstance(table, dict) or not isinstance(clips, list):
        raise ValueError(
            "`annotations` must be a list of clips, and `labels` a table of indices; "
            f"got a {type(clips).__name__} and a {type(table).__name__}."
        )
    records = []
    for clip in clips:
        if not isinstance(clip, dict) or "id" not in clip:
            raise ValueError(f"`annotations` has a clip without an id: {clip!r:.80}.")
        records.append((str(clip["id"]), clip.get("template")))
    videos = root / "20bn-something-something-v2"
    table = {label.lower(): index for label, index in table.items()}
    describe = functools.partial(_describe, videos, table)
    names = [name for name, _ in records]
    return VideoSamples(names, records, describe, spec, "something_something_v2")


def _list(root, name):
    older = root / f"something-something-v2-{name}.json"
    if older.exists():
        return older
    return need_file(root / "labels" / f"{name}.json", f"{name}.json", _LAYOUT)


def _own(path):
    return need_file(path, "the list given", _LAYOUT)


def _describe(folder, table, record):
    name, template = record
    label = str(template).replace("[", "").replace("]", "").lower()
    if label not in table:
        raise ValueError(f"its template {template!r} is not in `labels`.")
    return Clip(locate(folder, name), int(str(table[label])), fps=_FPS)
