"""Which frames of a video make the clip: samplers that networks were trained with."""

import dataclasses
import operator

import numpy as np

from jaxattr.data._timeline import Timeline

_SAMPLINGS = ("centre", "uniform", "long_range_last", "dense")
_SHORTS = ("error", "stretch", "loop")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Chooses the frames of a clip.

    With n frames in the video and T in the clip:

    - "centre": T frames at `fps` around the middle of the video. Frame i is the one on
      screen at (D - T / fps) / 2 + i / fps, D the duration. Times may be off by a
      quarter of a frame, because containers round them and a grid that falls exactly
      between two frames would pick now one, now the other. Without `fps`, or without
      a clock in the source, T consecutive frames from (n - T) // 2.
    - "uniform": round(linspace(0, n - 1, T)).
    - "long_range_last": range(0, n, n // T), the last T of them.
    - "dense": T consecutive frames from `start`.

    Attributes:
      num_frames: T.
      sampling: one of the names above.
      fps: frames per second of the clip, for "centre"; None for the source's own.
      short: with too few frames, "error"; "stretch", round(linspace(0, n - 1, T)) of
        the video's own frames; or "loop", from the first frame again.
      start: first frame of "dense"; None is 0.
      frames: explicit indices, which replace all of this.
    """

    num_frames: int
    sampling: str
    fps: float | None
    short: str
    start: int | None = None
    frames: tuple[int, ...] | None = None

    def __post_init__(self):
        if self.sampling not in _SAMPLINGS:
            raise ValueError(
                f"`sampling` must be one of {_SAMPLINGS}, got {self.sampling!r}."
            )
        if self.short not in _SHORTS:
            raise ValueError(f"`short` must be one of {_SHORTS}, got {self.short!r}.")
        if self.start is None:
            return
        if self.sampling != "dense" or self.frames is not None:
            raise ValueError("`start` goes with `sampling='dense'` only.")
        if not is_integer(self.start) or self.start < 0:
            raise ValueError(
                f"`start` must be a frame's index, from 0, got {self.start!r}."
            )

    @property
    def stop(self) -> int | None:
        """Frames after which nothing more is needed; None where all count."""
        if self.frames is not None:
            return max(self.frames) + 1
        if self.sampling == "dense":
            return (self.start or 0) + self.num_frames
        return None

    def indices(self, timeline: Timeline) -> np.ndarray:
        """Indices of the frames of the clip, [T] int64.

        Raises:
          ValueError: an index that is not there, or too few frames under "error".
        """
        n, start = timeline.num_frames, self.start or 0
        if self.frames is not None:
            if max(self.frames) >= n:
                raise ValueError(
                    f"`frames` asks for {max(self.frames)}, but the last of its {n} "
                    f"frames is {n - 1}."
                )
            return np.asarray(self.frames)
        if start >= n:
            raise ValueError(f"`start` is {start}, but the last frame is {n - 1}.")
        own = np.arange(start, n)
        if self.sampling == "centre" and self.fps and timeline.edges is not None:
            there = _on_screen(timeline.edges, self.fps, self.num_frames)
        else:
            there = _by_index(own, self.num_frames, self.sampling)
        return there if len(there) == self.num_frames else self._repeat(own, there)

    def _repeat(self, own, there):
        if self.short == "stretch":
            return own[_spread(len(own), self.num_frames)]
        if self.short == "loop":
            return there[np.arange(self.num_frames) % len(there)]
        rate = f" at {self.fps:g} frames per second" if len(there) < len(own) else ""
        raise ValueError(
            f"too few frames: the clip needs {self.num_frames}{rate}, and there are "
            f"{len(there)}. Pass `short='stretch'` or `short='loop'` to repeat some, "
            "or choose them by `frames=[...]`."
        )


def check_indices(frames) -> tuple[int, ...]:
    """Returns explicit frame indices as Python integers.

    Raises:
      ValueError: none, or one that is negative or not an integer.
    """
    try:
        given = list(frames)
    except TypeError:
        given = []
    if not given or not all(is_integer(i) and i >= 0 for i in given):
        raise ValueError(
            "`frames` must list at least one frame by its index, an integer from 0, "
            f"got {frames!r}."
        )
    return tuple(operator.index(i) for i in given)


def is_integer(value) -> bool:
    """Whether a value is an integer, of Python or NumPy, and not a truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _by_index(own, count, sampling):
    """`count` of the source's own frames; all of them, where there are fewer."""
    n = len(own)
    if n < count:
        return own
    if sampling == "uniform":
        return own[_spread(n, count)]
    if sampling == "long_range_last":
        return own[:: n // count][-count:]
    first = (n - count) // 2 if sampling == "centre" else 0
    return own[first : first + count]


def _spread(n, count):
    return np.round(np.linspace(0, n - 1, count)).astype(np.int64)


def _on_screen(edges, fps, count):
    """Frames on screen at `count` times around the middle, or as many as there are."""
    count = min(count, _most(edges, fps))
    first = max(0.0, (edges[-1] - count / fps) / 2)
    times = first + np.arange(count) / fps
    return np.searchsorted(edges[:-1], times + _slack(edges), side="right") - 1


def at_rate(edges: np.ndarray, fps: float) -> np.ndarray:
    """All frames on screen at times 0, 1 / fps, 2 / fps and so on: [N] int64."""
    return _on_screen(edges, fps, _most(edges, fps))


def _slack(edges):
    return np.median(np.diff(edges)) / 4


def _most(edges, fps):
    """How many frames at a rate there are in all."""
    return max(1, int((edges[-1] + _slack(edges)) * fps))
