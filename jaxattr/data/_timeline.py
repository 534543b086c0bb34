"""What a first pass over a video finds out: how many frames, and when each is shown."""

from typing import NamedTuple

import numpy as np


class Timeline(NamedTuple):
    """Frames counted by decoding, and their times.

    Attributes:
      num_frames: n, frames that could be decoded.
      edges: [n + 1] seconds since the first frame at which each frame appears, and at
        which the last one goes; None where the source has no clock.
    """

    num_frames: int
    edges: np.ndarray | None
