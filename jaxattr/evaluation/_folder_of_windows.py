"""Sliding windows over the long videos of one folder."""

import copy

from jaxattr.data import ClipSpec, Sample, Samples, windows
from jaxattr.data._windows import check_stride
from jaxattr.evaluation._folder_of_clips import About, clips_in


def window_samples(
    folder: str,
    spec: ClipSpec,
    *,
    labels: str | None = None,
    boxes: str | None = None,
    stride: int | None = None,
) -> Samples:
    """Sliding windows over every video, GIF and folder of frames in a folder.

    A video that cannot be decoded, or is shorter than a window, is one sample, which
    raises ValueError when it is asked for.

    Args:
      folder: with the videos, which are decoded once to count their frames.
      spec: of the network the windows are for.
      labels: as of `folder_samples`.
      boxes: likewise.
      stride: as of `jaxattr.data.windows`.

    Raises:
      ValueError: no clips there; labels or boxes that cannot be read; a stride that
        cannot be.
    """
    paths = clips_in(folder)
    check_stride(stride, spec)
    about = About.read(labels, boxes, spec)
    return _WindowSamples(paths, [_cut(path, spec, stride) for path in paths], about)


def check_windows(num: int | None, *, stride: int | None = None, **paths: str) -> None:
    """Raises ValueError for a stride of no network."""
    if not (stride is None or (type(stride) is int and stride > 0)):
        raise ValueError(f"`stride` must be an integer from 1, got {stride!r}.")


def _cut(path, spec, stride):
    """The windows of a video, or why there are none."""
    try:
        return windows(path, spec, 0, stride=stride)
    except (ValueError, OSError) as error:
        return str(error)


class _WindowSamples:
    """The windows of one video after those of another."""

    in_order = True

    def __init__(self, paths, parts, about):
        self._paths, self._parts, self._about = paths, parts, about
        self._places, self.names = [], []
        for k, part in enumerate(parts):
            names = (paths[k].name,) if isinstance(part, str) else part.names
            self._places += [(k, i) for i in range(len(names))]
            self.names += names
        self._open = None, None

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index) -> Sample:
        k, i = self._places[index]
        if isinstance(self._parts[k], str):
            raise ValueError(self._parts[k])
        last, part = self._open
        if last != k:  # A copy decodes on its own: what it holds goes with it.
            part = copy.copy(self._parts[k])
            self._open = k, part
        window = part.read(i)
        return self._about.sample(self.names[index], self._paths[k], *window)
