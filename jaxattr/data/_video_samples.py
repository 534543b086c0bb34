"""Clips of a data set, decoded from their files one at a time, when they are asked for.

What the data sets differ in is where their files lie and how they are annotated: each
lists its clips, and describes one of them as a `Clip`.
"""

import collections
import dataclasses
import os
import pathlib
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxattr.data._boxes import Boxes, to_clip
from jaxattr.data._decode import ClipSpec, Source, check_spec
from jaxattr.data._read_clip import open_reader, read_clip
from jaxattr.data._sample import MissingAnnotation, Sample
from jaxattr.data._sampling import Sampling
from jaxattr.data._timeline import Timeline

_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".gif")


@dataclasses.dataclass(frozen=True)
class Clip:
    """Where a clip is, and what is known of it.

    Attributes:
      path: of the video, GIF or folder of frames.
      target: its class.
      boxes: of its frames; None without annotation.
      frames: [n] places of its frames within the source, where it is but a part of it.
      numbers: [n] what the annotation calls these frames.
      fps: at which frames follow each other, where the source has no clock.
      region: (top, left, bottom, right) cut out first, which `boxes` refer to.
      length: frames of the source, if they have been counted.
    """

    path: pathlib.Path
    target: int
    boxes: Boxes | None = None
    frames: np.ndarray | None = None
    numbers: np.ndarray | None = None
    fps: float | None = None
    region: tuple[int, int, int, int] | None = None
    length: int | None = None


class VideoSamples:
    """A data set of videos with random access; see `jaxattr.data.Samples`.

    Attributes:
      names: of the clips.
      spec: of the network they are for.
      group: name of the data set.
    """

    def __init__(
        self,
        names: Sequence[str],
        records: Sequence[Any],
        describe: Callable[[Any], Clip],
        spec: ClipSpec,
        group: str,
    ):
        """Lists clips.

        Args:
          names: of the clips, all different.
          records: what `describe` makes a `Clip` of, one per name; plain data.
          describe: pickles with the data set, so it is no lambda.
          spec: of the network the clips are for.
          group: name of the data set.
        """
        check_spec(spec)
        self.names = tuple(names)
        self.spec = spec
        self.group = group
        self._records = tuple(records)
        self._describe = describe
        if not self.names:
            raise ValueError(f"the data set {group!r} has no clip.")
        twice = [n for n, k in collections.Counter(self.names).items() if k > 1]
        if twice:
            raise ValueError(f"the data set {group!r} has {twice[0]!r} twice.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Decodes a clip.

        Raises:
          IndexError: there is none.
          ValueError: it cannot be decoded, or its annotation is missing or unreadable.
          OSError: its file is missing.
        """
        return self.take(index, self.spec.num_frames)

    def take(self, index: int, num_frames: int, sampling: str | None = None) -> Sample:
        """Decodes a clip, as of a network that takes other frames, or more of them."""
        about = self._about(index)
        name = self.names[index]
        try:
            clip, source = _read(about, _changed(self.spec, num_frames, sampling))
            boxes = None if about.boxes is None else _boxes(about, source)
        except ValueError as error:
            raise ValueError(f"clip {name!r}: {error}") from error
        return Sample(name, clip, about.target, boxes=boxes, group=self.group)

    def target(self, index: int) -> int:
        """The class of a clip, known without decoding it."""
        return self._about(index).target

    def length(self, index: int) -> int:
        """Frames of a clip's source, counted by decoding it if nobody has done so."""
        about = self._about(index)
        if about.length is not None:
            return about.length
        if about.frames is not None:
            return len(about.frames)
        return open_reader(about.path).scan(None).num_frames

    def _about(self, index):
        place = range(len(self))[index]  # Raises IndexError.
        try:
            return self._describe(self._records[place])
        except ValueError as error:
            missing = isinstance(error, MissingAnnotation)
            kind = MissingAnnotation if missing else ValueError
            raise kind(f"clip {self.names[place]!r}: {error}") from error


def locate(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Finds a video, GIF or folder of frames by its name, in whatever container.

    Args:
      folder: where the data set's files are.
      name: relative to it, with or without a suffix; upper and lower case are taken
        for each other where that is needed, as data sets confuse them.

    Raises:
      FileNotFoundError: there is no such file.
    """
    place = folder
    *parents, last = pathlib.PurePath(name).parts
    for part in parents:
        place = _child(place, [part]) or place / part
    suffix = pathlib.PurePath(last).suffix
    stem = last.removesuffix(suffix) if suffix.lower() in _SUFFIXES else last
    found = _child(place, [last, stem, *(stem + suffix for suffix in _SUFFIXES)])
    if found is None:
        raise FileNotFoundError(
            f"there is no video, GIF or folder of frames {stem!r} in {str(place)!r}."
        )
    return found


def need_file(path: str | os.PathLike[str], what: str, layout: str) -> pathlib.Path:
    """Returns a path that exists, or says what belongs there and where it comes from.

    Raises:
      FileNotFoundError: with all that.
    """
    place = pathlib.Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{what} is missing: {str(place)!r}.\n{layout}")
    return place


def _child(folder, names):
    """The entry of a folder with one of the names, exactly or else but for the case."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    lower = [name.lower() for name in names]
    entries = folder.iterdir() if folder.is_dir() else ()
    return min((p for p in entries if p.name.lower() in lower), default=None)


def _changed(spec, num_frames, sampling):
    """The spec, for clips of another length and sampled in another way."""
    names = [name for name in vars(ClipSpec) if not name.startswith("_")]
    fields = {name: getattr(spec, name) for name in names}
    fields |= {"num_frames": num_frames, "sampling": sampling or spec.sampling}
    return types.SimpleNamespace(**fields)


def _read(about, spec) -> tuple[np.ndarray, Source]:
    if about.frames is None:
        fps = about.fps if about.path.is_dir() else None  # A video has its own clock.
        box = about.region
        return read_clip(about.path, spec, box=box, fps=fps, return_source=True)
    n = len(about.frames)
    edges = None if about.fps is None else np.arange(n + 1) / about.fps
    choice = Sampling(spec.num_frames, spec.sampling, spec.fps, spec.short)
    chosen = choice.indices(Timeline(n, edges))
    clip, source = read_clip(
        about.path,
        spec,
        frames=about.frames[chosen].tolist(),
        box=about.region,
        return_source=True,
    )
    return clip, source._replace(indices=about.numbers[chosen])


def _boxes(about, source) -> np.ndarray:
    geometry = source.geometry
    whole = (0, 0, *geometry.source_size)
    picture = whole if about.region is None else geometry.box
    return to_clip(about.boxes.at(source.indices), picture, geometry)
