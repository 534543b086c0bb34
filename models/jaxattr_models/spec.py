"""What a network wants its clip to be: the one place where preprocessing is said."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """How a video becomes the clip `[T, H, W, C]` that a network was trained on.

    A pixel `p` in 0..255 enters the network as `(p * scale - mean) / std`, channel by
    channel, after frames were sampled, resized and cropped. `jaxattr.data` reads this
    class as a protocol: any object with these attributes will do.

    Attributes:
      num_frames: T, frames in one clip.
      size: (H, W) in pixels, as the network sees them.
      mean: per channel, in units of `p * scale`, in the order of `channel_order`.
      std: per channel, likewise.
      scale: factor on pixel values 0..255.
      channel_order: "rgb" or "bgr".
      resize: (height, width) to resize to before the centre crop to `size`, aspect not
        kept; an integer resizes the shorter side to it; None resizes to `size`.
      antialias: whether the bilinear resize low-passes when it shrinks.
      fps: frames per second at which to sample; None takes the video's own frames.
      sampling: which frames: "centre" (consecutive at `fps`, around the middle),
        "uniform" (evenly over the whole video), "long_range_last" (the study's: stride
        n // T, the last T of them), "dense" (consecutive from the first frame).
      short: what to do with too few frames: "error", "stretch" (repeat evenly) or
        "loop".
      labels: class names, by index; empty where unknown.
      tap: name of the recommended tap for maps at a layer, or None.
      taps: every advertised tap with its shape (T', H', W', C') for a clip of this
        spec.
      tokens: (T', H', W') of a transformer's tokens, which it numbers row by row, time
        first; None where a network has no tokens.
      class_token: whether a class token stands before them, which the head reads.
    """

    num_frames: int
    size: tuple[int, int]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    channel_order: Literal["rgb", "bgr"] = "rgb"
    resize: tuple[int, int] | int | None = None
    antialias: bool = False
    fps: float | None = None
    sampling: Literal["centre", "uniform", "long_range_last", "dense"] = "centre"
    short: Literal["error", "stretch", "loop"] = "error"
    labels: tuple[str, ...] = ()
    tap: str | None = None
    taps: tuple[tuple[str, tuple[int, ...]], ...] = ()
    tokens: tuple[int, int, int] | None = None
    class_token: bool = False

    def __post_init__(self):
        if self.num_frames < 1:
            raise ValueError(f"`num_frames` must be at least 1, got {self.num_frames}.")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"`mean` and `std` need one value per channel, got {len(self.mean)} "
                f"and {len(self.std)}."
            )
        if any(s <= 0 for s in self.std):
            raise ValueError(f"`std` must be positive, got {self.std}.")
        if self.class_token and self.tokens is None:
            raise ValueError("`class_token` needs `tokens`, before which it stands.")
