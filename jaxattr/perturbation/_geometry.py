"""Where the cells of a mask grid lie, and how far their bumps and blurs reach."""

import dataclasses
import math

import jax


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class MaskGeometry:
    """Sizes of a mask, of its parameter grid and of its regularisers.

    Every frame has a grid of cells `step` pixels apart. The mask is made on a canvas
    larger than the frame by a margin, so that cells beyond the frame's edge can act;
    area and core are measured on the canvas, as published.

    Attributes:
      num_frames: T.
      height: H, pixels.
      width: W, pixels.
      step: distance between cells, pixels.
      sigma: width of the bump of one cell, pixels; also the margin.
      blur: standard deviation of the strongest blur, pixels.
      core_frames: length of the core, frames.
      core_size: height and width of the core, pixels.
    """

    num_frames: int
    height: int
    width: int
    step: int
    sigma: float
    blur: float
    core_frames: int
    core_size: int

    def __post_init__(self):
        for name in ("step", "core_frames", "core_size"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ValueError(
                    f"`{name}` must be an integer of at least 1, got "
                    f"{getattr(self, name)!r}."
                )
        if not self.sigma > 0:
            raise ValueError(f"`sigma` must be positive, got {self.sigma}.")
        if not self.blur >= 0:
            raise ValueError(f"`blur` must be at least 0, got {self.blur}.")
        if self.core_frames > self.num_frames:
            raise ValueError(
                f"`core_frames` must be at most the {self.num_frames} frames of the "
                f"clip, got {self.core_frames}."
            )
        if not _covers((self.height, self.width), self.step, self.sigma):
            raise ValueError(
                f"`sigma`={self.sigma} with `step`={self.step} leaves a canvas smaller "
                f"than the frame {self.height}x{self.width}; choose a smaller `sigma`."
            )
        if self.core_size > min(self.canvas):
            raise ValueError(
                f"`core_size` must be at most {min(self.canvas)}, the canvas of a "
                f"{self.height}x{self.width} frame, got {self.core_size}."
            )

    @property
    def pad(self) -> int:
        """Cells of zeros around the grid."""
        return _pad(self.step, self.sigma)

    @property
    def window(self) -> int:
        """Cells along one axis that reach a pixel."""
        return _window(self.step, self.sigma)

    @property
    def margin(self) -> int:
        """Pixels of the canvas before the frame's first row and column."""
        return round(self.sigma)

    @property
    def grid(self) -> tuple[int, int]:
        """Cells of one frame, (rows, columns)."""
        return math.ceil(self.height / self.step), math.ceil(self.width / self.step)

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks of `step` by `step` pixels in the canvas, (rows, columns)."""
        rows, columns = self.grid
        extra = 2 * self.pad - self.window + 1
        return rows + extra, columns + extra

    @property
    def canvas(self) -> tuple[int, int]:
        """Size of the mask with its margins, pixels."""
        rows, columns = self.blocks
        return self.step * (rows - 1) + 1, self.step * (columns - 1) + 1

    def crop(self, mask: jax.Array) -> jax.Array:
        """Cuts the frame out of a canvas: [..., *canvas] -> [..., H, W]."""
        rows = slice(self.margin, self.margin + self.height)
        columns = slice(self.margin, self.margin + self.width)
        return mask[..., rows, columns]


def mask_geometry(shape: tuple[int, int, int], **overrides) -> MaskGeometry:
    """Chooses sizes for clips of a given shape.

    The published sizes where the shorter side of the frame is 112 or 224 pixels; else
    in the same proportions: step ⌊side / 14⌋, the largest whole `sigma` up to
    11 side / 112 whose canvas covers the frame, the odd `core_size` nearest to that,
    `blur` 20 min(1, side / 112). The core lasts min(8, ⌈T / 2⌉) frames.

    Args:
      shape: (T, H, W).
      **overrides: fields of `MaskGeometry` that replace the choice; None keeps it.

    Raises:
      ValueError: an override out of range, or sizes that do not fit together.
    """
    num_frames, height, width = shape
    side = min(height, width)
    overrides = {k: v for k, v in overrides.items() if v is not None}
    step = overrides.get("step", 7 if side in (112, 224) else max(1, side // 14))
    if not (isinstance(step, int) and step >= 1):
        raise ValueError(f"`step` must be an integer of at least 1, got {step!r}.")
    sizes = {
        "step": step,
        "sigma": {112: 11, 224: 23}.get(side) or _sigma((height, width), step),
        "blur": 20.0 * min(1.0, side / 112),
        "core_frames": min(8, math.ceil(num_frames / 2)),
        "core_size": 11 if side in (112, 224) else _odd(11 * side / 112),
    }
    return MaskGeometry(num_frames, height, width, **{**sizes, **overrides})


def _pad(step, sigma):
    return 1 + math.ceil(2 * sigma / step)


def _window(step, sigma):
    return 2 * (1 + math.ceil(sigma / step)) + 1


def _covers(frame, step, sigma):
    extra = 2 * _pad(step, sigma) - _window(step, sigma)
    return all(
        step * (math.ceil(size / step) + extra) + 1 >= round(sigma) + size
        for size in frame
    )


def _sigma(frame, step):
    largest = max(1, 11 * min(frame) // 112)
    fitting = (s for s in range(largest, 0, -1) if _covers(frame, step, s))
    return next(fitting, 1)


def _odd(size):
    return max(3, 2 * round((size - 1) / 2) + 1)
