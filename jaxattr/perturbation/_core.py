r"""The core term of STEP: a mask should be made of solid pieces in space and time.

The mask is averaged over a small 3-D kernel at every frame and every `core_size`
pixels, and these averages should be 1 for as many places as the area has room for,
0 elsewhere. As published it is the sum of two means, over the top places and over the
rest; the count uses the volume of an ideal ellipsoid, the average the kernel's own.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.perturbation._area import Select
from jaxattr.perturbation._geometry import MaskGeometry


def core_term(
    mask: jax.Array,
    count: jax.Array,
    geometry: MaskGeometry,
    select: Select,
    *,
    shape: str = "ellipsoid",
) -> jax.Array:
    """Sum of the two mean squared distances.

    Args:
      mask: [T, *geometry.canvas].
      count: [] voxels of the canvas that should be 1, as in the area term.
      geometry: `core_frames` and `core_size` are the kernel's.
      select: marks the largest entries, such as `top_weights`.
      shape: "ellipsoid" or "cylinder".

    Returns:
      [].
    """
    kernel = core_kernel(geometry.core_frames, geometry.core_size, shape)
    means = _means(mask, jnp.asarray(kernel / kernel.sum(), mask.dtype)).ravel()
    nominal = math.floor(geometry.core_frames * geometry.core_size**2 * 0.5236)
    # ⌈a V / nominal⌉, and never more places than there are: then the rest is empty.
    num_top = jnp.minimum((count + nominal - 1) // nominal, means.size)
    top = select(means, num_top)
    num_rest = jnp.maximum(means.size - num_top, 1)
    inner = (top * (1 - means) ** 2).sum() / num_top.astype(mask.dtype)
    outer = ((1 - top) * means**2).sum() / num_rest.astype(mask.dtype)
    return inner + outer


def core_kernel(num_frames: int, size: int, shape: str = "ellipsoid") -> np.ndarray:
    """Ones inside an ellipsoid or cylinder that touches the box, [num_frames, S, S].

    Raises:
      ValueError: an unknown `shape`.
    """
    t, y, x = (
        np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        for n in (num_frames, size, size)
    )
    inside = np.sqrt(y[:, None] ** 2 + x[None] ** 2)[None]
    if shape == "ellipsoid":
        inside = np.sqrt(t[:, None, None] ** 2 + inside**2)
    elif shape == "cylinder":
        inside = np.broadcast_to(inside, (num_frames, size, size))
    else:
        raise ValueError(
            f'`core_shape` must be "ellipsoid" or "cylinder", got {shape!r}.'
        )
    return (inside <= 1).astype(np.float64)


def _means(mask, kernel):
    """Valid correlation with strides (1, S, S), [T - K + 1, H // S, W // S]."""
    num_frames, size, _ = kernel.shape
    rows, columns = (n // size for n in mask.shape[1:])
    tiles = mask[:, : rows * size, : columns * size]
    tiles = tiles.reshape(-1, rows, size, columns, size)
    # One product for all frames of the kernel, then the sum along its diagonals.
    parts = jnp.einsum("tyixj,kij->ktyx", tiles, kernel, precision="highest")
    last = mask.shape[0] - num_frames + 1
    return sum(parts[k, k : k + last] for k in range(num_frames))
