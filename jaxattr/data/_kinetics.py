"""Kinetics: ten seconds of video each, in a folder per class or all in one."""

import functools
import os
import pathlib
from collections.abc import Sequence

from jaxattr.data._decode import ClipSpec
from jaxattr.data._tables import integer, read_rows
from jaxattr.data._video_samples import Clip, VideoSamples, locate, need_file

_LAYOUT = """\
Bring Kinetics-400, 600 or 700, videos and lists from
https://github.com/cvdfoundation/kinetics-dataset, unpacked into one folder:
  <split>/<class>/<youtube_id>_000010_000020.mp4, or
  <split>/<youtube_id>_000010_000020.mp4 with <split>.csv or annotations/<split>.csv"""


def kinetics(
    folder: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    split: str = "val",
    labels: Sequence[str] | None = None,
) -> VideoSamples:
    """Reads Kinetics-400, 600 or 700.

    Bring videos and lists from https://github.com/cvdfoundation/kinetics-dataset, in
    either layout:

        <split>/<class>/<youtube_id>_000010_000020.mp4
        <split>/<youtube_id>_000010_000020.mp4 and <split>.csv (annotations/<split>.csv)

    With a list, its clips are the data set, and one whose video has died is missing;
    without, the videos that are there.

    Args:
      folder: with the videos.
      spec: of the network the clips are for, such as `net.spec`.
      split: name of the folder and of the list, such as "train", "val" or "test".
      labels: names of the classes by index; None takes `spec.labels`. A class folder
        may write "_" for the blanks.

    Returns:
      Samples with random access, without boxes.

    Raises:
      FileNotFoundError: there are neither videos nor a list; from a sample, its video.
      ValueError: the classes are not known, or the list cannot be read; from a sample,
        a class that is not among them.

    References:
      Kay et al., "The Kinetics Human Action Video Dataset", 2017,
      https://arxiv.org/abs/1705.06950.
    """
    known = getattr(spec, "labels", ()) if labels is None else labels
    if not known:
        raise ValueError(
            "`labels` must name the classes by index, as `spec` does not know them."
        )
    root = pathlib.Path(folder)
    videos = need_file(root / split, "the folder of videos", _LAYOUT)
    lists = (root / f"{split}.csv", root / "annotations" / f"{split}.csv")
    table = next((path for path in lists if path.exists()), None)
    if table is None:
        found = [p for p in sorted(videos.glob("*/*")) if not p.name.startswith(".")]
        if not found:
            raise FileNotFoundError(
                f"{str(videos)!r} holds no class folder with videos, and there is no "
                f"list of them.\n{_LAYOUT}"
            )
        records = [(p.stem, p.parent.name) for p in found]
    else:
        columns = ("label", "youtube_id", "time_start", "time_end")
        rows = read_rows(table, columns)
        records = [
            (
                f"{row['youtube_id']}_{integer(row, 'time_start'):06d}"
                f"_{integer(row, 'time_end'):06d}",
                row["label"],
            )
            for row in rows
        ]
    targets = {_plain(label): i for i, label in enumerate(known)}
    names = [name for name, _ in records]
    describe = functools.partial(_describe, videos, targets)
    return VideoSamples(names, records, describe, spec, "kinetics")


def _plain(label):
    return label.replace("_", " ").strip().lower()


def _describe(folder, targets, record):
    name, label = record
    if _plain(label) not in targets:
        raise ValueError(f"`labels` has no class {label!r}.")
    spellings = (label, label.replace(" ", "_"))
    place = next((folder / s for s in spellings if (folder / s).is_dir()), folder)
    return Clip(locate(place, name), targets[_plain(label)])
