"""UCF101-24: the videos of 24 actions of UCF101 that have boxes around the actors."""

import functools
import os
import pathlib
from typing import Literal

import numpy as np

from jaxattr.data._boxes import Tubes
from jaxattr.data._decode import ClipSpec
from jaxattr.data._numpy_pickle import Array, read_pickle
from jaxattr.data._sample import MissingAnnotation
from jaxattr.data._ucf101 import FPS, read_list
from jaxattr.data._video_samples import Clip, VideoSamples, locate, need_file

_SIZE = (240, 320)  # Of every UCF101 video, and of the pictures that were annotated.
LAYOUT = """\
Bring into one folder, of https://www.crcv.ucf.edu/data/UCF101.php the videos and of
https://github.com/gurkirt/corrected-UCF101-Annots the annotations:
  UCF-101/<Class>/v_<Class>_g01_c01.avi, or
  rgb-images/<Class>/v_<Class>_g01_c01/00001.jpg
  pyannot.pkl, testlist01.txt (these two in the folder itself or in splitfiles/)"""


def ucf101_24(
    folder: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    split: Literal["train", "test"] = "test",
) -> VideoSamples:
    """Reads UCF101-24, with boxes.

    Bring the videos from https://www.crcv.ucf.edu/data/UCF101.php, and `pyannot.pkl`
    and `testlist01.txt` from https://github.com/gurkirt/corrected-UCF101-Annots:

        UCF-101/<Class>/v_<Class>_g01_c01.avi
        pyannot.pkl, testlist01.txt (or splitfiles/pyannot.pkl, ...)

    Frames as pictures, `rgb-images/<Class>/v_<Class>_g01_c01/00001.jpg`, do in place of
    the videos. The pickle is read as data: nothing in it is executed.

    Args:
      folder: with both of them.
      spec: of the network the clips are for, such as `net.spec`.
      split: "test", the videos of testlist01.txt that belong to the 24 classes (the
        list of UCF101 itself does as well); or "train", the annotated videos that are
        not in it, as Li et al. have it.

    Returns:
      Samples with random access. `target` is the class, from 0 to 23. Of several actors
      in a frame `boxes` has the one that the annotation lists last, as Li et al. do.

    Raises:
      FileNotFoundError: the folder lacks the annotation or the list; from a sample, its
        video.
      ValueError: an unknown split, or a file that cannot be read; from a sample, its
        annotation is missing or malformed.

    References:
      Singh et al., "Online Real-time Multiple Spatiotemporal Action Localisation and
      Prediction", ICCV 2017, https://arxiv.org/abs/1611.08563. Li et al., "Towards
      Visually Explaining Video Understanding Networks with Perturbation", WACV 2021,
      https://arxiv.org/abs/2005.00375.
    """
    names, records = annotated(folder, split)
    describe = functools.partial(_describe, videos_of(folder))
    return VideoSamples(names, records, describe, spec, "ucf101_24")


def videos_of(folder: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of the videos, or of the frames, whichever was brought."""
    root = pathlib.Path(folder)
    places = [root / name for name in ("rgb-images", "UCF-101")]
    place = next((p for p in places if p.is_dir()), places[1])
    return need_file(place, "the folder of videos", LAYOUT)


def annotated(
    folder: str | os.PathLike[str], split: str
) -> tuple[list[str], list[tuple[str, object]]]:
    """Names of a split, and with each its entry of the annotation, None if missing."""
    if split not in ("train", "test"):
        raise ValueError(f"`split` must be 'train' or 'test', got {split!r}.")
    root = pathlib.Path(folder)
    lists = root / "splitfiles" if (root / "splitfiles").is_dir() else root
    path = need_file(lists / "pyannot.pkl", "the annotation", LAYOUT)
    entries = read_pickle(path)
    if not isinstance(entries, dict) or not all(isinstance(n, str) for n in entries):
        raise ValueError(f"{str(path)!r} is not a table of videos by their names.")
    listed = read_list(need_file(lists / "testlist01.txt", "the test list", LAYOUT))
    if split == "train":
        names = sorted(set(entries) - set(listed))
    else:
        classes = {name.partition("/")[0] for name in entries}
        names = sorted(n for n in set(listed) if n.partition("/")[0] in classes)
    return names, [(name, entries.get(name)) for name in names]


def parse_tubes(entry: object) -> tuple[int, Tubes]:
    """The class and the boxes that an entry of the annotation says.

    Raises:
      ValueError: it is missing or malformed.
    """
    if entry is None:
        raise MissingAnnotation(
            "the annotation is missing: pyannot.pkl does not have it."
        )
    try:
        starts, boxes = [], []
        for tube in entry["annotations"]:
            held = tube["boxes"]
            value = held.value if isinstance(held, Array) else np.asarray(held)
            length = int(tube["ef"]) - int(tube["sf"])
            if value.ndim != 2 or value.shape[1] != 4 or not 0 <= length <= len(value):
                raise ValueError(f"{value.shape} boxes for {length} frames.")
            starts.append(int(tube["sf"]))
            boxes.append(value[:length])
        target = int(entry["label"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"its annotation is malformed: {error!r}.") from error
    return target, Tubes(tuple(starts), tuple(boxes), _SIZE)


def _describe(folder, record):
    name, entry = record
    target, tubes = parse_tubes(entry)
    counted = entry.get("numf")
    length = counted if type(counted) is int and counted > 0 else None
    return Clip(locate(folder, name), target, boxes=tubes, fps=FPS, length=length)
