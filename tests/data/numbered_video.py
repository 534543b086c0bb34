"""Videos whose frames say their own number, so that no decoder of ours is trusted."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

ROWS, COLS = 2, 4  # Blocks of one bit each: numbers up to 255.


@dataclasses.dataclass(frozen=True)
class Spec:
    """A network's wishes, written without `jaxattr_models`."""

    num_frames: int = 6
    size: tuple = (20, 28)
    mean: tuple = (0.0, 0.0, 0.0)
    std: tuple = (1.0, 1.0, 1.0)
    scale: float = 1.0
    channel_order: str = "rgb"
    resize: tuple | int | None = None
    antialias: bool = False
    fps: float | None = None
    sampling: str = "centre"
    short: str = "error"


def picture(number, size=(48, 80)):
    """RGB picture [h, w, 3] that shows a number as bright and dark blocks."""
    bits = [(number >> bit) & 1 for bit in range(ROWS * COLS)]
    rows = np.arange(size[0]) * ROWS // size[0]
    cols = np.arange(size[1]) * COLS // size[1]
    grey = 40 + 170 * np.array(bits).reshape(ROWS, COLS)[np.ix_(rows, cols)]
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def number(frame):
    """Reads the number off a picture or a frame of a clip, of any size."""
    h, w = frame.shape[:2]
    rows = (np.arange(ROWS) * 2 + 1) * h // (2 * ROWS)
    cols = (np.arange(COLS) * 2 + 1) * w // (2 * COLS)
    bits = np.asarray(frame)[np.ix_(rows, cols)].mean(-1).ravel() > 125
    return int(sum(int(bit) << i for i, bit in enumerate(bits)))


def write_video(
    path,
    count,
    *,
    fps=30,
    times=None,
    size=(48, 80),
    codec="libx264",
    pixels="yuv420p",
    options=None,
    **codec_options,
):
    """Writes numbered frames; `times` in milliseconds make the rate vary."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=codec_options)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
