"""How methods without a gradient hide parts of a clip: behind other voxels, or in time.

What is hidden may say what it is hidden behind: of a frozen voxel what was shown there
before, of a segment its mean colour. So a substitute is not always one clip.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, wide, widen
from jaxattr._segments import sizes
from jaxattr._substitute import fill_in
from jaxattr.perturbation._operators import OPERATORS, Show, towards

BY_VOXEL = ("freeze",)
BY_SEGMENT = (*BY_VOXEL, "segment_mean")


def hiding(name: str, value: Any, clip: jax.Array) -> Show:
    """Makes `show(mask) -> clip`, which hides where a mask is 0.

    Args:
      name: static half of `check_substitute(substitute, f, also=BY_VOXEL)`.
      value: the other half.
      clip: [T, H, W, C].

    Returns:
      show: mask [T, H, W], bool or 0..1 -> clip in its own dtype.
    """
    show = hiding_wide(name, value, clip)
    return lambda mask: narrow(show(mask.astype(wide(clip.dtype))), clip)


def hiding_wide(name: str, value: Any, clip: jax.Array) -> Show:
    """The same in float32 or wider; masks are of that dtype, and may have channels."""
    x = widen(clip)
    if name == "freeze":
        return OPERATORS[name](x, 0.0)
    return towards(widen(fill_in(name, value, clip)), x)


def hiding_segments(
    name: str, value: Any, clip: jax.Array, segments: jax.Array, num_segments: int
) -> Show:
    """The same for whole segments: `show(kept [num_segments]) -> clip`.

    Args:
      name: static half of `check_substitute(substitute, f, also=BY_SEGMENT)`.
      value: the other half.
      clip: [T, H, W, C].
      segments: [T, H, W] labels; those out of range go with the nearest.
      num_segments: above every label.
    """
    index = segments.clip(0, num_segments - 1)
    if name == "segment_mean":
        name, value = "value", _means(widen(clip), index, num_segments)[index]
    show = hiding(name, value, clip)
    return lambda kept: show(kept[index])


def _means(clip, segments, num_segments):
    """Mean colour of every segment, [num_segments, C]."""
    colours = clip.reshape(-1, clip.shape[-1])
    total = jax.ops.segment_sum(colours, segments.ravel(), num_segments)
    count = jnp.maximum(sizes(segments, num_segments), 1).astype(clip.dtype)
    return total / count[:, None]
