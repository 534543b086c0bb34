"""UCF101: short videos of 101 actions, in class folders, with lists of the splits."""

import functools
import os
import pathlib
from typing import Literal

from jaxattr.data._decode import ClipSpec
from jaxattr.data._tables import read_lines
from jaxattr.data._video_samples import Clip, VideoSamples, locate, need_file

FPS = 25.0  # Of every UCF101 video.
_LAYOUT = """\
Bring UCF101 from https://www.crcv.ucf.edu/data/UCF101.php (UCF101.rar and "Train/Test
Splits for Action Recognition"), unpacked into one folder:
  UCF-101/<Class>/v_<Class>_g01_c01.avi (or a folder of frames of that name)
  ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt, ..."""


def ucf101(
    folder: str | os.PathLike[str],
    spec: ClipSpec,
    *,
    split: Literal["train", "test"] = "test",
    fold: Literal[1, 2, 3] = 1,
) -> VideoSamples:
    """Reads UCF101.

    Bring it from https://www.crcv.ucf.edu/data/UCF101.php, both the videos and the
    "Train/Test Splits for Action Recognition", unpacked into one folder:

        UCF-101/<Class>/v_<Class>_g01_c01.avi
        ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt, ...

    Folders of frames `v_<Class>_g01_c01/` do in place of the videos. The lists and the
    files disagree about the case of "HandstandPushups", which does no harm.

    Args:
      folder: with both of them.
      spec: of the network the clips are for, such as `net.spec`. Its `sampling` says
        which frames are taken; Li et al. use "long_range_last".
      split: "train" or "test".
      fold: 1, 2 or 3, of the lists.

    Returns:
      Samples with random access. `target` is the class, from 0, in the order of
      classInd.txt; there are no boxes.

    Raises:
      FileNotFoundError: the folder lacks a list; from a sample, its video.
      ValueError: an unknown split or fold, or a list that cannot be read.

    References:
      Soomro, Zamir and Shah, "UCF101: A Dataset of 101 Human Actions Classes From
      Videos in The Wild", 2012, https://arxiv.org/abs/1212.0402.
    """
    if split not in ("train", "test"):
        raise ValueError(f"`split` must be 'train' or 'test', got {split!r}.")
    if fold not in (1, 2, 3):
        raise ValueError(f"`fold` must be 1, 2 or 3, got {fold!r}.")
    root = pathlib.Path(folder)
    lists = root / "ucfTrainTestlist"
    names = read_list(need_file(lists / f"{split}list{fold:02d}.txt", "list", _LAYOUT))
    index = need_file(lists / "classInd.txt", "the list of classes", _LAYOUT)
    targets = {}
    for line in read_lines(index):
        number, _, label = line.partition(" ")
        if not number.isdecimal() or not label:
            raise ValueError(f"{str(index)!r} must say '1 <Class>', got {line!r}.")
        targets[label.lower()] = int(number) - 1
    describe = functools.partial(_describe, root / "UCF-101", targets)
    return VideoSamples(names, names, describe, spec, "ucf101")


def read_list(path: pathlib.Path) -> list[str]:
    """Names "Class/v_Class_g01_c01" of a list, which may add a suffix and a label."""
    return [line.split()[0].removesuffix(".avi") for line in read_lines(path)]


def _describe(folder, targets, name):
    label = name.partition("/")[0].lower()
    if label not in targets:
        raise ValueError(f"classInd.txt has no class {label!r}.")
    return Clip(locate(folder, name), targets[label], fps=FPS)
