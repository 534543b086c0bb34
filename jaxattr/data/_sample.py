"""One clip of a data set with what is known of it, and what a data set must offer."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class MissingAnnotation(ValueError):
    """A clip of a data set with boxes or labels has none, whatever its frames are."""


class Sample(NamedTuple):
    """A clip as a network takes it, with its annotation.

    Attributes:
      name: of the clip; no other of its data set has it, on no machine.
      clip: [T, H, W, C] float32, in network units.
      target: the class to explain.
      boxes: [T, 4] float32 rows (y0, x0, y1, x1), inclusive, in pixels of `clip`, NaN
        where a frame has none; None without annotation.
      mask: [T, H, W] bool, True where the evidence is; None without annotation.
      group: what a macro mean weighs alike: the family or the data set it is of.
    """

    name: str
    clip: np.ndarray
    target: int
    boxes: np.ndarray | None = None
    mask: np.ndarray | None = None
    group: str = ""


class Samples(Protocol):
    """A data set with random access, which grain takes unchanged; it can be pickled.

    Attributes:
      names: of the clips, known without decoding one.
    """

    names: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Decodes one clip.

        Raises:
          ValueError: it cannot be decoded, or its annotation cannot be read.
          OSError: its file is missing.
        """
        ...
