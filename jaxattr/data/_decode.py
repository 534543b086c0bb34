"""From a reader of frames to the clip that a network wants, for every source alike."""

import contextlib
import dataclasses
import itertools
from typing import NamedTuple, Protocol

import numpy as np

from jaxattr.data._geometry import Geometry, apply, plan
from jaxattr.data._sampling import Sampling


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


def check_spec(spec: ClipSpec) -> None:
    """Raises TypeError or ValueError unless `spec` says what a clip of it is."""
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


def decode(
    reader,
    name: str,
    spec: ClipSpec,
    choice: Sampling,
    *,
    crop: str | tuple[int, int] = "centre",
    box: tuple[int, int, int, int] | None = None,
    fps: float | None = None,
    keep: bool = False,
) -> tuple[np.ndarray, Source]:
    """Chooses, decodes and normalises the frames of one clip; see `read_clip`.

    Args:
      reader: with `scan`, `read` and `clocked`, as `Video` and `Folder` have.
      name: what an error calls the clip.
      spec: the network's.
      choice: which frames.
      crop: see `read_clip`.
      box: see `read_clip`.
      fps: of a reader without a clock.
      keep: whether the source's own frames are wanted, too.

    Returns:
      The clip, and where it comes from; `frames` is empty unless kept.
    """
    timeline = reader.scan(choice.stop)
    if fps is not None:
        timeline = _at_rate(timeline, reader, fps)
    elif not reader.clocked:
        choice = dataclasses.replace(choice, fps=None)
    with _naming(name):
        indices = choice.indices(timeline)
    decoded = read_frames(reader, name, np.unique(indices).tolist())
    first = next(decoded)  # At least one frame is always chosen.
    with _naming(name):
        geometry = plan(first[1].shape[:2], spec.size, spec.resize, box, crop)
    pixels, originals = {}, {}
    for i, frame in itertools.chain([first], decoded):
        pixels[i] = np.round(apply(frame, geometry, spec.antialias))
        if keep:
            originals[i] = frame
    clip = normalise(np.stack([pixels[i] for i in indices.tolist()]), spec)
    edges = timeline.edges
    kept = [originals[i] for i in indices.tolist()] if keep else []
    return clip, Source(
        path=name,
        indices=indices,
        times=np.full(len(indices), np.nan) if edges is None else edges[indices],
        frames=np.asarray(kept, np.uint8),
        geometry=geometry,
    )


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
        raise ValueError(f"{path!r}: {error}") from error


def read_frames(reader, path: str, indices: list[int]):
    """Yields (index, frame), making sure that all are there and of one size."""
    size, count = None, 0
    for i, frame in zip(indices, reader.read(indices)):
        size = size or frame.shape[:2]
        if frame.shape[:2] != size:
            raise ValueError(
                f"`path` {path!r}: frame {i} is {frame.shape[0]}x"
                f"{frame.shape[1]} (height x width), frame {indices[0]} is {size[0]}x"
                f"{size[1]}; all must be of one size."
            )
        count += 1
        yield i, frame
    if count < len(indices):
        raise ValueError(
            f"`path` {path!r}: frame {indices[count]} could be decoded once "
            "and not again; the file has changed or is damaged."
        )


def normalise(pixels: np.ndarray, spec: ClipSpec) -> np.ndarray:
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
