"""Samples from records on disk, as `jaxattr.data.builders` writes them."""

import contextlib
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxattr.data._boxes import Tubes, to_clip
from jaxattr.data._decode import ClipSpec, check_spec, decode
from jaxattr.data._geometry import Geometry
from jaxattr.data._images import Encoded
from jaxattr.data._sample import Sample
from jaxattr.data._sampling import Sampling


class RecordSamples:
    """Clips of records, decoded when they are asked for; see `Samples`.

    Attributes:
      names: of the clips.
    """

    def __init__(self, source: Any, names: tuple[str, ...], spec: ClipSpec):
        self._source, self._spec = source, spec
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Reads and decodes a clip.

        Raises:
          IndexError: there is none.
          ValueError: it cannot be decoded.
        """
        place = range(len(self))[operator.index(index)]
        name, spec = self.names[place], self._spec
        with _undamaged(f"the record of clip {name!r}"):
            record = self._source[place]
        choice = Sampling(spec.num_frames, spec.sampling, spec.fps, spec.short)
        fps = float(record["fps"]) or None
        clip, source = decode(Encoded(record["frames"]), name, spec, choice, fps=fps)
        boxes = mask = None
        if record["has_boxes"]:
            ends = np.cumsum(record["lengths"]).tolist()
            parts = [
                record["boxes"][e - n : e] for e, n in zip(ends, record["lengths"])
            ]
            starts, size = record["starts"].tolist(), record["size"].tolist()
            tubes = Tubes(tuple(starts), tuple(parts), tuple(size))
            whole = (0, 0, *source.geometry.source_size)
            boxes = to_clip(tubes.at(source.indices), whole, source.geometry)
        if len(record["masks"]):
            frames = list(Encoded(record["masks"]).read(source.indices.tolist()))
            mask = _nearest(np.stack(frames)[..., 0] > 0, source.geometry)
        return Sample(
            name,
            clip,
            int(record["target"]),
            boxes=boxes,
            mask=mask,
            group=record["group"].decode(),
        )


def from_records(source: Any, spec: ClipSpec) -> RecordSamples:
    """Takes records of a builder of ours as samples for a network.

    Args:
      source: of a whole split, `builder.as_data_source("test")`, where builder is one
        of `jaxattr.data.builders` or `tfds.builder_from_directory(folder)`.
      spec: of the network the clips are for, such as `net.spec`.

    Returns:
      Samples with random access, with the boxes or masks that the records have.

    Raises:
      ValueError: `source` is not a whole split of such records, or its file is damaged
        from the start.
    """
    check_spec(spec)
    known = getattr(getattr(source, "dataset_info", None), "metadata", None) or {}
    lists = [n for n in known.get("names", {}).values() if len(n) == len(source)]
    for names in lists:
        with _undamaged("the first record of `source`"):
            first = source[0]["name"].decode()
        if first == names[0]:
            return RecordSamples(source, tuple(names), spec)
    raise ValueError(
        "`source` must be a whole split of a builder of `jaxattr.data.builders`, such "
        f'as `builder.as_data_source("test")`, got {type(source).__name__}.'
    )


@contextlib.contextmanager
def _undamaged(what: str) -> Iterator[None]:
    """Raises ValueError instead of what ArrayRecord raises for a damaged file."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{what} cannot be read: {error}") from error


def _nearest(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Follows a mask through cut, resize and crop, by the pixel that lies nearest."""
    for axis in (0, 1):
        start, stop = geometry.box[axis], geometry.box[axis + 2]
        places = np.arange(geometry.size[axis]) + 0.5 + geometry.crop[axis]
        places = start + places * (stop - start) / geometry.resized[axis]
        mask = mask.take(np.floor(places).astype(np.int64), axis + 1)
    return mask
