"""Sliding windows over a video that is longer than a network's clip."""

import os
import pathlib
import threading

import numpy as np

from jaxattr.data._decode import ClipSpec, check_spec, normalise, read_frames
from jaxattr.data._geometry import Geometry, apply, plan
from jaxattr.data._read_clip import open_reader
from jaxattr.data._sample import Sample
from jaxattr.data._sampling import at_rate


class Windows:
    """Windows of one video, decoded when they are asked for; see `Samples`.

    Asked for in order, the video is decoded once, and no more than one window of it is
    in memory.

    Attributes:
      in_order: True: a window before the last one costs the video from its start.
      names: of the windows: the video's, and the first frame.
      starts: [W] int64, first frame of each window, counted in `frames`.
      frames: [N] int64, which of the video's own frames the windows are cut from: all
        of them, or those at the rate that the network wants.
    """

    in_order = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        spec: ClipSpec,
        target: int,
        starts: np.ndarray,
        frames: np.ndarray,
    ):
        self._path = pathlib.Path(path)
        self._spec, self._target = spec, target
        self.starts, self.frames = starts, frames
        self.names = tuple(f"{self._path.name}@{start:06d}" for start in starts)
        self._rewind()

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Sample:
        """Decodes a window.

        Raises:
          IndexError: there is none.
          ValueError: it cannot be decoded.
          OSError: the video is gone.
        """
        clip, _, _ = self.read(index)
        return Sample(self.names[index], clip, self._target, group=self._path.stem)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray, Geometry]:
        """Decodes a window: its clip, [T] its frames of the video, and where they lie.

        Raises:
          as indexing does.
        """
        start = self.starts[index]
        wanted = self.frames[start : start + self._spec.num_frames]
        with self._lock:
            pixels, geometry = self._decode(wanted.tolist()), self._geometry
        return normalise(np.stack(pixels), self._spec), wanted, geometry

    def __getstate__(self):
        state = {**vars(self)}
        for name in ("_lock", "_stream", "_held", "_geometry"):
            del state[name]
        return state

    def __setstate__(self, state):
        vars(self).update(state)
        self._rewind()

    def _rewind(self):
        self._lock = threading.Lock()
        self._stream, self._held, self._geometry = None, {}, None

    def _decode(self, wanted):
        """Frames of a window, going on where the last window ended if it can."""
        held = self._held
        if self._stream is None or wanted[0] < min(held, default=0):
            left = np.unique(self.frames[self.frames >= wanted[0]]).tolist()
            name = os.fspath(self._path)
            self._stream = read_frames(open_reader(self._path), name, left)
            held.clear()
        try:
            while wanted[-1] not in held:
                i, frame = next(self._stream)
                if i < wanted[0]:
                    continue
                if self._geometry is None:
                    size, resize = self._spec.size, self._spec.resize
                    self._geometry = plan(frame.shape[:2], size, resize, None, "centre")
                held[i] = np.round(apply(frame, self._geometry, self._spec.antialias))
        except BaseException:
            self._stream = None  # It is spent, and what is held may have gaps.
            raise
        for i in [i for i in held if i < wanted[0]]:
            del held[i]
        return [held[i] for i in wanted]


def windows(
    path: str | os.PathLike[str],
    spec: ClipSpec,
    target: int,
    *,
    stride: int | None = None,
) -> Windows:
    """Cuts a long video into windows that a network can take.

    A map of the whole, frame by frame of `frames`:

        found = jaxattr.data.windows("long.mp4", net.spec, target)
        maps = (explain(sample.clip, target).values for sample in found)
        whole = jaxattr.data.stitch(maps, found.starts, len(found.frames))

    Args:
      path: of a video, GIF or folder of frames.
      spec: of the network, such as `net.spec`; windows have its `num_frames` frames at
        its `fps` (of a source without a clock, or without `fps`, the source's own).
      target: the class to explain, in every window.
      stride: frames from one window to the next; None for half a window. The last
        window ends with the video, whatever the stride.

    Returns:
      Samples with random access; in order they are much faster.

    Raises:
      FileNotFoundError: nothing is at `path`.
      ValueError: it cannot be decoded or is shorter than one window, or a stride that
        is not positive or leaves frames out.
    """
    check_spec(spec)
    size, stride = spec.num_frames, check_stride(stride, spec)
    reader = open_reader(path)
    timeline = reader.scan(None)
    frames = np.arange(timeline.num_frames)
    if spec.fps and reader.clocked and timeline.edges is not None:
        frames = at_rate(timeline.edges, spec.fps)
    if len(frames) < size:
        raise ValueError(
            f"`path` {os.fspath(path)!r} gives {len(frames)} frames, fewer than the "
            f"{size} of one window; `read_clip` takes it, as does kind 'folder' of an "
            "evaluation."
        )
    starts = np.arange(0, len(frames) - size, stride)
    starts = np.append(starts, len(frames) - size)
    return Windows(path, spec, target, starts, frames)


def check_stride(stride: int | None, spec: ClipSpec) -> int:
    """A stride of windows; that of None is half a window.

    Raises:
      ValueError: it is not positive or leaves frames out.
    """
    size = spec.num_frames
    stride = max(1, size // 2) if stride is None else stride
    if not 1 <= stride <= size:
        raise ValueError(
            f"`stride` must be from 1 to the {size} frames of a window, got {stride}."
        )
    return stride
