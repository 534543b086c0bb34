"""What a record of any data set holds: frames as encoded bytes, and annotation."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jaxattr.data._extras import need

tfds = need("tensorflow_datasets", "TensorFlow Datasets", "data")


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes records of clips in ArrayRecord files, in a fixed order.

    The names of the clips are in `metadata.json`, so that they are known without
    reading the clips.
    """

    def __init__(self, **settings: Any):
        """Takes what any builder of TensorFlow Datasets does, `data_dir` first."""
        super().__init__(**{"file_format": "array_record", **settings})

    def _record_info(
        self, description: str, citation: str, homepage: str | None = None
    ):
        features = {
            "name": tfds.features.Text(doc="of the clip"),
            "target": tfds.features.Scalar(np.int32, doc="the class, from 0"),
            "group": tfds.features.Text(doc="the family or the data set"),
            "fps": tfds.features.Scalar(np.float32, doc="frames per second; 0: none"),
            "frames": tfds.features.Tensor(
                shape=(None,), dtype=np.object_, doc="files of pictures, in order"
            ),
            "masks": tfds.features.Tensor(
                shape=(None,), dtype=np.object_, doc="PNG of 1 bit each; or nothing"
            ),
            "has_boxes": tfds.features.Scalar(np.bool_, doc="whether it has any tubes"),
            "size": tfds.features.Tensor(
                shape=(2,), dtype=np.int32, doc="(h, w) that the boxes refer to"
            ),
            "starts": tfds.features.Tensor(
                shape=(None,), dtype=np.int32, doc="first frame of each tube"
            ),
            "lengths": tfds.features.Tensor(
                shape=(None,), dtype=np.int32, doc="frames of each tube"
            ),
            "boxes": tfds.features.Tensor(
                shape=(None, 4),
                dtype=np.int32,
                doc="(x, y, width, height) in each frame of each tube, one after other",
            ),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=description,
            features=tfds.features.FeaturesDict(features),
            homepage=homepage,
            citation=citation,
            metadata=tfds.core.MetadataDict(names={}, left_out={}),
            disable_shuffling=True,
        )

    def _noted(
        self, split: str, records: Iterable[dict[str, Any] | tuple[str, str]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Numbers records and notes their names; (name, reason) is one left out."""
        names = self.info.metadata["names"][split] = []
        left_out = self.info.metadata["left_out"][split] = {}
        for record in records:
            if isinstance(record, tuple):
                left_out[record[0]] = record[1]
                continue
            names.append(record["name"])
            yield len(names) - 1, record


def record(
    name: str,
    target: int,
    group: str,
    frames: list[bytes],
    *,
    fps: float = 0.0,
    masks: list[bytes] = (),
    tubes=None,
) -> dict[str, Any]:
    """One record; `tubes` as in `jaxattr.data._boxes`, or None."""
    boxes = [] if tubes is None else [np.asarray(b, np.int32) for b in tubes.boxes]
    return {
        "name": name,
        "target": target,
        "group": group,
        "fps": fps,
        "frames": frames,
        "masks": list(masks),
        "has_boxes": tubes is not None,
        "size": (0, 0) if tubes is None else tubes.size,
        "starts": np.asarray([] if tubes is None else tubes.starts, np.int32),
        "lengths": np.asarray([len(b) for b in boxes], np.int32),
        "boxes": np.concatenate([np.zeros((0, 4), np.int32), *boxes]),
    }


def encode(pixels: np.ndarray, form: str, **settings: Any) -> bytes:
    """A picture as the bytes of a file: uint8 [h, w, 3], or bool [h, w] as 1 bit."""
    image = need("PIL.Image", "Pillow").fromarray(pixels)
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()
