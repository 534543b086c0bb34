"""UCF101-24 as files: every frame a JPEG, boxes beside them."""

import os
import pathlib

from jaxattr.data._read_clip import open_reader
from jaxattr.data._ucf101 import FPS
from jaxattr.data._ucf101_24 import LAYOUT, annotated, parse_tubes, videos_of
from jaxattr.data._video_samples import locate
from jaxattr.data.builders._record import RecordBuilder, encode, record, tfds

_CITATION = """\
@inproceedings{singh2017online,
  title = {Online Real-time Multiple Spatiotemporal Action Localisation and Prediction},
  author = {Singh, Gurkirt and Saha, Suman and Sapienza, Michael and Torr, Philip and
            Cuzzolin, Fabio},
  booktitle = {ICCV}, year = {2017}}"""


class Ucf101Boxes(RecordBuilder):
    """UCF101-24, from a folder as `jaxattr.data.ucf101_24` takes it.

    Frames that are JPEG files already are taken over byte by byte; those of videos
    become JPEG of quality 95. Clips whose annotation or video is
    missing or damaged are left out; `builder.info.metadata["left_out"]` says why.
    """

    name = "jaxattr_ucf101_24"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}  # noqa: RUF012 - as in the base class.
    MANUAL_DOWNLOAD_INSTRUCTIONS = LAYOUT

    @staticmethod
    def take_from(folder: str | os.PathLike[str]) -> tfds.download.DownloadConfig:
        """The `download_config` that says where you put the data set."""
        return tfds.download.DownloadConfig(manual_dir=folder)

    def _info(self):
        return self._record_info(
            "Videos of 24 actions with boxes around the actors.",
            _CITATION,
            "https://github.com/gurkirt/corrected-UCF101-Annots",
        )

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        return {s: self._generate_examples(folder, s) for s in ("train", "test")}

    def _generate_examples(self, folder, split):
        videos = videos_of(folder)
        _, entries = annotated(folder, split)
        yield from self._noted(split, (_record(videos, *entry) for entry in entries))


def _record(videos, name, entry):
    try:
        target, tubes = parse_tubes(entry)
        frames = _frames(locate(videos, name))
    except (ValueError, OSError) as error:
        return name, str(error)
    return record(name, target, "ucf101_24", frames, fps=FPS, tubes=tubes)


def _frames(path) -> list[bytes]:
    """The frames of a video or of a folder, as files of pictures."""
    reader = open_reader(path)
    if path.is_dir():
        return reader.files()
    indices = range(reader.scan(None).num_frames)
    return [encode(f, "JPEG", quality=95) for f in reader.read(indices)]
