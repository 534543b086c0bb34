"""From the frames that a network saw back to the frames of the user's own video."""

import jax
import numpy as np

from jaxattr.data import Source


def to_source(
    values: np.ndarray | jax.Array, source: Source, *, fill: float = 0.0
) -> np.ndarray:
    """Puts a map of a clip back on the frames that the clip was read from.

    Undoes crop, resize and box of `read_clip`: each source pixel takes the bilinear
    value of the map at the place it came to lie, nearest at the border of the crop.

    Args:
      values: [T, H, W] map over the clip: a mask, a heat map, one channel.
      source: what `read_clip(..., return_source=True)` gave beside the clip.
      fill: for source pixels that the network never saw, outside the crop; NaN makes
        them stand out.

    Returns:
      [T, h, w] float32; row t belongs on `source.frames[t]`.

    Raises:
      ValueError: `values` is not of the clip's shape.
    """
    on_source = np.asarray(values, dtype=np.float32)
    expected = (len(source.indices), *source.geometry.size)
    if on_source.shape != expected:
        raise ValueError(
            f"`values` must be of the clip's shape [T, H, W] = {expected}, got "
            f"{on_source.shape}; reduce channels and resize coarse maps first."
        )
    for axis in (1, 2):
        on_source = _undo(on_source, source.geometry, axis, np.float32(fill))
    return on_source


def _undo(values, geometry, axis, fill):
    """Goes back along one spatial axis, 1 for rows and 2 for columns."""
    i = axis - 1
    start, stop = geometry.box[i], geometry.box[i + 2]
    length, size = geometry.source_size[i], geometry.size[i]
    pixel = np.arange(length)
    scale = geometry.resized[i] / (stop - start)
    position = (pixel + 0.5 - start) * scale - 0.5 - geometry.crop[i]
    edge = 0.5 + 1e-9  # The border is half a pixel out; rounding must not move it.
    seen = (start <= pixel) & (pixel < stop)
    seen &= (-edge <= position) & (position <= size - 1 + edge)
    position = np.clip(position, 0, size - 1)
    low = np.minimum(position.astype(np.int64), max(size - 2, 0))
    part = (position - low).astype(np.float32)
    shape = [-1 if a == axis else 1 for a in range(3)]
    seen, part = seen.reshape(shape), part.reshape(shape)
    high = np.minimum(low + 1, size - 1)
    # Gathered, not multiplied by a matrix: a NaN in the map stays where it is.
    mixed = values.take(low, axis) * (1 - part) + values.take(high, axis) * part
    return np.where(seen, mixed, fill)
