"""From hidden to shown: what a voxel looks like as its mask rises from 0 to 1.

A pyramid holds versions of the clip, from fully perturbed to untouched. A mask picks a
place between two of them for every voxel, so that its gradient is their difference.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._gaussian import blur_frames

NUM_LEVELS = 8  # As published.


def blur_pyramid(clip: jax.Array, blur: float) -> jax.Array:
    """Frames blurred less and less, linearly in sigma, zeros outside the frame.

    Args:
      clip: [T, H, W, C].
      blur: standard deviation at level 0, pixels.

    Returns:
      [8, T, H, W, C]; the last level is the clip.
    """
    sigmas = blur * (1 - np.arange(NUM_LEVELS - 1) / (NUM_LEVELS - 1))
    reach = math.ceil(4 * blur)
    blurred = jax.vmap(lambda sigma: blur_frames(clip, sigma, reach=reach))(
        jnp.asarray(sigmas, clip.dtype)
    )
    return jnp.concatenate([blurred, clip[None]])


def show(pyramid: jax.Array, mask: jax.Array) -> jax.Array:
    """Shows each voxel at the level its mask says.

    Two neighbouring levels are gathered; their difference is the slope. The published
    form holds the upper of the two at the last one, which kills the slope at exactly 1;
    here the interval below is continued, also beyond 1, where rounding may lift a mask.

    Args:
      pyramid: [L, T, H, W, C].
      mask: [T, H, W]; 0 shows the first level, 1 the last.

    Returns:
      [T, H, W, C].
    """
    last = pyramid.shape[0] - 1
    place = last * mask
    level = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)), 0, last - 1)
    index = level.astype(jnp.int32)[None, ..., None]
    low = jnp.take_along_axis(pyramid, index, axis=0)[0]
    high = jnp.take_along_axis(pyramid, index + 1, axis=0)[0]
    share = (place - level)[..., None]
    return (1 - share) * low + share * high  # Exact at both ends.
