"""Videos, GIFs and folders of frames in one folder, with labels and boxes beside."""

import csv
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxattr.data import ClipSpec, Sample, Samples, read_clip
from jaxattr.data._boxes import FARTHEST
from jaxattr.data._geometry import Geometry
from jaxattr.data._sample import MissingAnnotation
from jaxattr.data._sampling import Sampling

_VIDEOS = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".gif"}


def folder_samples(
    folder: str,
    spec: ClipSpec,
    *,
    labels: str | None = None,
    boxes: str | None = None,
    box: tuple[int, int, int, int] | None = None,
    sampling: str | None = None,
    short: str | None = None,
) -> Samples:
    """Every video, GIF and folder of frames directly in a folder, by name.

    Args:
      folder: with the clips.
      spec: of the network the clips are for.
      labels: CSV file whose rows are a clip's name, with or without its ending, and its
        class: a label of the network or an index. Without it the class is 0, of use
        only where the network's own answer is explained.
      boxes: JSON file, `{"clips": {name: {"boxes": [...]}}}`: for every frame of the
        clip's source null or [x0, y0, x1, y1] as shares of the frame, of what `box`
        leaves of it, from its top left corner.
      box: top, left, bottom, right in pixels of the source, cut out first.
      sampling: as of `read_clip`.
      short: likewise.

    Raises:
      ValueError: no clips there; labels or boxes that cannot be read.
    """
    reading = {"box": box, "sampling": sampling, "short": short}
    about = About.read(labels, boxes, spec)
    return _FolderSamples(spec, clips_in(folder), about, reading)


def clips_in(folder: str) -> list[pathlib.Path]:
    """Videos, GIFs and folders of frames, sorted.

    Raises:
      ValueError: there is none.
    """
    found = sorted(
        p
        for p in pathlib.Path(folder).iterdir()
        if not p.name.startswith(".") and (p.is_dir() or p.suffix.lower() in _VIDEOS)
    )
    if not found:
        raise ValueError(
            f"`folder` {folder!r} holds no video, GIF or folder of frames."
        )
    return found


def check_folder(
    num: int | None,
    *,
    box: Sequence[int] | None = None,
    sampling: str | None = None,
    short: str | None = None,
    **paths: str,
) -> None:
    """Raises ValueError for what no clip could be read with."""
    Sampling(1, sampling or "uniform", None, short or "error")
    if box is None:
        return
    top, left, bottom, right = box if len(box) == 4 else (0, 0, 0, 0)
    if not (0 <= top < bottom and 0 <= left < right):
        raise ValueError(
            "`box` must be (top, left, bottom, right) in pixels of the source, got "
            f"{box!r}."
        )


class About(NamedTuple):
    """What is known of the clips of a folder, by name."""

    labels: Mapping[str, int]
    boxes: Mapping[str, list]

    @classmethod
    def read(cls, labels: str | None, boxes: str | None, spec: ClipSpec) -> "About":
        """Reads the files of `folder_samples`."""
        return cls(_read_labels(labels, spec), _read_boxes(boxes))

    def sample(
        self,
        name: str,
        path: pathlib.Path,
        clip: np.ndarray,
        indices: np.ndarray,
        geometry: Geometry,
    ) -> Sample:
        """A clip with its class and boxes; see `to_clip`.

        Raises:
          ValueError: it has no class where others have one; boxes that are none.
        """
        boxes, target = _find(self.boxes, path), _find(self.labels, path)
        if self.labels and target is None:
            raise MissingAnnotation(f"{path.name} has no row in the file of labels.")
        if boxes is not None:
            boxes = to_clip(boxes, indices, geometry)
        return Sample(name, clip, target or 0, boxes=boxes)


class _FolderSamples:
    """Reads a clip when it is asked for."""

    def __init__(self, spec, paths, about, reading):
        self._spec, self._paths = spec, paths
        self._about, self._reading = about, reading
        self.names = [path.name for path in paths]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index) -> Sample:
        path = self._paths[index]
        clip, source = read_clip(path, self._spec, return_source=True, **self._reading)
        return self._about.sample(
            self.names[index], path, clip, source.indices, source.geometry
        )


def to_clip(
    boxes: list[list[float] | None], indices: np.ndarray, geometry: Geometry
) -> np.ndarray:
    """Boxes of the source's frames in pixels of the clip.

    Args:
      boxes: one for each frame of the source, [x0, y0, x1, y1] as shares of the box
        that was cut out, or None.
      indices: [T] frames of the source that the clip has.
      geometry: between the source and the clip.

    Returns:
      [T, 4] float32 rows (y0, x0, y1, x1), inclusive; NaN where a frame has none, or
      none within the crop.

    Raises:
      ValueError: fewer boxes than frames, or what is no box.
    """
    rows = []
    if not isinstance(boxes, list):
        raise ValueError(f"its `boxes` must be a list, got {boxes!r:.80}.")
    if indices.max() >= len(boxes):
        raise MissingAnnotation(
            f"there are boxes for {len(boxes)} frames, and none for frame "
            f"{indices.max()}."
        )
    sides = np.asarray(geometry.size, np.float64)
    for index in indices:
        row = boxes[index]
        if row is None:
            rows.append([np.nan] * 4)
            continue
        if not _is_box(row):
            raise ValueError(
                "its `boxes` must be [x0, y0, x1, y1] in shares of the frame, or null, "
                f"got {row!r:.80} for frame {index}."
            )
        x0, y0, x1, y1 = row
        ends = np.array([[y0, x0], [y1, x1]]) * geometry.resized - geometry.crop
        inside = (ends[0] < sides).all() and (ends[1] > 0).all()
        # A pixel belongs to a box that holds its centre, half a pixel in.
        rows.append((ends - 0.5).ravel().tolist() if inside else [np.nan] * 4)
    return np.asarray(rows, np.float32)


def _is_box(row):
    good = isinstance(row, list) and len(row) == 4
    return good and all(
        isinstance(end, (int, float)) and abs(end) <= FARTHEST for end in row
    )


def _find(table: Mapping[str, Any], path: pathlib.Path):
    return table.get(path.name, table.get(path.stem))


def _read_boxes(path):
    if path is None:
        return {}
    try:
        entries = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["clips"]
        return {name: entry["boxes"] for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"`boxes` {path!r} cannot be read: {error!r}.") from error


def _read_labels(path, spec):
    if path is None:
        return {}
    names = {label: i for i, label in enumerate(getattr(spec, "labels", ()))}
    found = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or row[1:2] == ["label"]:
                continue
            if len(row) < 2 or not (row[1] in names or row[1].isdecimal()):
                raise ValueError(
                    f"`labels` {path!r}: line {number} must be a clip and a label of "
                    f"the network or an index, got {row}."
                )
            known = row[1] in names
            found[row[0]] = names[row[1]] if known else int(row[1])
    return found
