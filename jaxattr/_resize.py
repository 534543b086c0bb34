"""From the cells of a layer to the voxels of the clip."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxattr.program import Axis


def evenly(which: int, cells: int, voxels: int) -> Axis:
    """Cells that share an axis of the clip evenly."""
    stride = voxels / cells
    return Axis(which, stride, (stride - 1) / 2)


def to_clip(
    cells: jax.Array, shape: Sequence[int], axes: Sequence[Axis | None]
) -> jax.Array:
    """Interpolates linearly between the centres of cells, and repeats beyond them.

    Args:
      cells: [T', H', W'].
      shape: (T, H, W) of the clip.
      axes: of time, height and width; None where it is not known: evenly.

    Returns:
      [T, H, W].
    """
    for i, (voxels, axis) in enumerate(zip(shape, axes, strict=True)):
        axis = evenly(i, cells.shape[i], voxels) if axis is None else axis
        weights = _weights(cells.shape[i], voxels, axis, cells.dtype)
        cells = jnp.moveaxis(jnp.tensordot(weights, cells, (1, i)), 0, i)
    return cells


def _weights(cells, voxels, axis, dtype):
    """[voxels, cells], rows that sum to 1."""
    place = (jnp.arange(voxels, dtype=dtype) - axis.offset) / axis.stride
    place = place.clip(0, cells - 1)[:, None]
    return jnp.maximum(0, 1 - jnp.abs(place - jnp.arange(cells, dtype=dtype)[None]))
