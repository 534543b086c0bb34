"""From a video, a GIF or a folder of frames to the clip that a network wants."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxattr.data._decode import ClipSpec, Source, check_spec, decode
from jaxattr.data._images import Folder, Gif
from jaxattr.data._sampling import Sampling, check_indices
from jaxattr.data._video import Video


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
    check_spec(spec)
    choice = Sampling(
        num_frames=spec.num_frames,
        sampling=spec.sampling if sampling is None else sampling,
        fps=spec.fps,
        short=spec.short if short is None else short,
        start=start,
        frames=None if frames is None else check_indices(frames),
    )
    clip, source = decode(
        open_reader(path),
        os.fspath(path),
        spec,
        choice,
        crop=crop,
        box=box,
        fps=fps,
        keep=return_source,
    )
    return (clip, source) if return_source else clip


def open_reader(path: str | os.PathLike[str]) -> Folder | Gif | Video:
    """The reader for what is at `path`, by its kind and its first bytes.

    Raises:
      FileNotFoundError: nothing is there.
      TypeError: it is not a path.
      ValueError: an empty file, or neither a file nor a folder.
    """
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
