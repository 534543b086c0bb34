"""From a video, a GIF or a folder of frames to the clip that a network wants."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxattr.data._geometry import Geometry, apply, plan
from jaxattr.data._images import Folder, Gif
from jaxattr.data._sampling import Sampling, check_indices
from jaxattr.data._video import Video


class ClipSpec(Protocol):
    """What `read_clip` needs to know of a network; any object with these will do.

    Attributes:
      num_frames: T, frames in one clip.
      size: (H, W) in pixels.
      mean: per channel, in units of `pixel * scale`, in the order of `channel_order`.
      std: per channel, likewise.
      scale: factor on pixel values 0..255.
      channel_order: "rgb" or "bgr".
      resize: (height, width) before the crop to `size`; an integer for the shorter
        side; None for `size`.
      antialias: whether the bilinear resize low-passes when it shrinks.
      fps: frames per second at which "centre" samples; None for the video's own.
      sampling: which frames, where `read_clip` is not told.
      short: what to do with too few frames, where `read_clip` is not told.
    """

    @property
    def num_frames(self) -> int: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def scale(self) -> float: ...
    @property
    def channel_order(self) -> str: ...
    @property
    def resize(self) -> tuple[int, int] | int | None: ...
    @property
    def antialias(self) -> bool: ...
    @property
    def fps(self) -> float | None: ...
    @property
    def sampling(self) -> str: ...
    @property
    def short(self) -> str: ...


class Source(NamedTuple):
    """Where a clip comes from, to put a map back on the user's own frames.

    Attributes:
      path: of the video, GIF or folder, as it was given.
      indices: [T] frame of the source that each frame of the clip was, from 0.
      times: [T] seconds since the first frame; NaN where the source has no clock.
      frames: [T, h, w, 3] uint8 RGB, the source's frames at `indices`, upright and
        neither cut nor resized.
      geometry: box, resize and crop between `frames` and the clip.
    """

    path: str
    indices: np.ndarray
    times: np.ndarray
    frames: np.ndarray
    geometry: Geometry


def read_clip(
    path: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    sampling: str | None = None,
    start: int | None = None,
    frames: Sequence[int] | None = None,
    short: str | None = None,
    crop: str | tuple[int, int] = "centre",
    box: tuple[int, int, int, int] | None = None,
    fps: float | None = None,
    return_source: bool = False,
) -> np.ndarray | tuple[np.ndarray, Source]:
    """Reads the clip that a network wants from a video, a GIF or a folder of frames.

    Frames are chosen, turned upright, cut to `box`, resized (bilinear, rounded to
    whole grey levels as torchvision and OpenCV do), cropped to `spec.size`, and become
    `(pixel * scale - mean) / std` in the channel order of the spec. A pixel's aspect
    ratio and interlacing are ignored.

    Videos are decoded twice, once to count frames and read their times, once to keep
    those that are needed, so a long one is never in memory whole. Their own clock
    counts, also where the frame rate varies. A folder has no clock, and the delays of a
    GIF say how long to show a frame rather than when it was taken: unless `fps` says
    how fast they follow each other, "centre" takes consecutive frames of these.

    Args:
      path: video file, animated GIF, or folder of png, jpeg, bmp, webp, tiff or ppm
        frames of one size and format, taken in the natural order of their names
        (frame2 before frame10); hidden files and other files are passed over.
      spec: the network's, such as `net.spec`; three channels.
      sampling: "centre", T frames at `spec.fps` around the middle; "uniform", evenly
        over the whole; "long_range_last", every (n // T)-th, the last T of them;
        "dense", consecutive from `start`. None takes `spec.sampling`. A video slower
        than `spec.fps` repeats frames under "centre", as torchvision does.
      start: first frame of "dense", from 0.
      frames: explicit indices instead of sampling, of any number and order.
      short: with too few frames, "error", "stretch" (repeat evenly) or "loop" (from
        the first again). None takes `spec.short`.
      crop: "centre", or (top, left) in pixels after the resize.
      box: (top, left, bottom, right) in the source's pixels, cut out before anything
        else; None for whole frames.
      fps: frames per second of a folder or GIF, if you know.
      return_source: whether to return where the clip comes from, too.

    Returns:
      [T, H, W, 3] float32 NumPy array in network units; with `return_source`, a pair
      of it and `Source`.

    Raises:
      FileNotFoundError: nothing is at `path`.
      ImportError: PyAV (videos) or Pillow (GIFs, folders) is not installed.
      TypeError: `path` is not a path, or `spec` says nothing about clips.
      ValueError: the file is empty, damaged, not a video, has too few frames or frames
        of several sizes; an argument does not fit it.

    Warns:
      UserWarning: the file is truncated or damaged, but enough frames are left.
    """
    _check_spec(spec)
    choice = Sampling(
        num_frames=spec.num_frames,
        sampling=spec.sampling if sampling is None else sampling,
        fps=spec.fps,
        short=spec.short if short is None else short,
        start=start,
        frames=None if frames is None else check_indices(frames),
    )
    reader = _reader(path)
    timeline = reader.scan(choice.stop)
    if fps is not None:
        timeline = _at_rate(timeline, reader, fps)
    elif not reader.clocked:
        choice = dataclasses.replace(choice, fps=None)
    with _naming(path):
        indices = choice.indices(timeline)
    decoded = _frames(reader, path, np.unique(indices).tolist())
    first = next(decoded)  # At least one frame is always chosen.
    with _naming(path):
        geometry = plan(first[1].shape[:2], spec.size, spec.resize, box, crop)
    pixels, originals = {}, {}
    for i, frame in itertools.chain([first], decoded):
        pixels[i] = np.round(apply(frame, geometry, spec.antialias))
        if return_source:
            originals[i] = frame
    clip = _normalise(np.stack([pixels[i] for i in indices.tolist()]), spec)
    if not return_source:
        return clip
    edges = timeline.edges
    return clip, Source(
        path=os.fspath(path),
        indices=indices,
        times=np.full(len(indices), np.nan) if edges is None else edges[indices],
        frames=np.stack([originals[i] for i in indices.tolist()]),
        geometry=geometry,
    )


def _check_spec(spec):
    names = [n for n in vars(ClipSpec) if not n.startswith("_")]
    missing = [name for name in names if not hasattr(spec, name)]
    if missing:
        raise TypeError(
            f"`spec` must say what the network wants, as `net.spec` does; "
            f"{type(spec).__name__} has no {', '.join(missing)}."
        )
    if len(spec.mean) != 3 or len(spec.std) != 3:
        raise ValueError(
            "`spec` must have a `mean` and `std` of three channels, got "
            f"{spec.mean} and {spec.std}."
        )
    if spec.channel_order not in ("rgb", "bgr"):
        raise ValueError(
            f"`spec.channel_order` must be 'rgb' or 'bgr', got {spec.channel_order!r}."
        )


def _reader(path):
    """The reader for what is at `path`, by its kind and its first bytes."""
    try:
        place = pathlib.Path(path)
    except TypeError as error:
        raise TypeError(f"`path` must be a path, got {path!r}.") from error
    if not place.exists():
        raise FileNotFoundError(f"`path` {os.fspath(path)!r} does not exist.")
    if place.is_dir():
        return Folder(place)
    if not place.is_file():
        raise ValueError(f"`path` {os.fspath(path)!r} is neither a file nor a folder.")
    with place.open("rb") as file:
        magic = file.read(6)
    if not magic:
        raise ValueError(f"`path` {os.fspath(path)!r} is an empty file.")
    return Gif(place) if magic in (b"GIF87a", b"GIF89a") else Video(place)


def _at_rate(timeline, reader, fps):
    if reader.clocked or not fps > 0:
        raise ValueError(
            "`fps` must be positive, and is for folders and GIFs (a video has its own "
            f"clock); got {fps}."
        )
    return timeline._replace(edges=np.arange(timeline.num_frames + 1) / fps)


@contextlib.contextmanager
def _naming(path):
    """Adds the file to an error that knows only its frames."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r}: {error}") from error


def _frames(reader, path, indices):
    """Yields (index, frame), making sure that all are there and of one size."""
    size, count = None, 0
    for i, frame in zip(indices, reader.read(indices)):
        size = size or frame.shape[:2]
        if frame.shape[:2] != size:
            raise ValueError(
                f"`path` {os.fspath(path)!r}: frame {i} is {frame.shape[0]}x"
                f"{frame.shape[1]} (height x width), frame {indices[0]} is {size[0]}x"
                f"{size[1]}; all must be of one size."
            )
        count += 1
        yield i, frame
    if count < len(indices):
        raise ValueError(
            f"`path` {os.fspath(path)!r}: frame {indices[count]} could be decoded once "
            "and not again; the file has changed or is damaged."
        )


def _normalise(pixels, spec):
    """Grey levels [T, H, W, 3] RGB in network units and channel order, float32."""
    if spec.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    clip = (pixels * np.float64(spec.scale) - np.asarray(spec.mean)) / spec.std
    if not np.isfinite(clip).all():
        raise ValueError(
            f"`spec` gives values that are not finite: `scale` {spec.scale}, `mean` "
            f"{spec.mean}, `std` {spec.std}."
        )
    return np.ascontiguousarray(clip, dtype=np.float32)
