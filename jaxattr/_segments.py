"""Labels of a clip's segments, and what methods that act on whole segments share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._expectation import check_count


def check_segments(segments: Any, clip: jax.Array) -> jax.Array:
    """Raises unless `segments` are integer labels [T, H, W] of the clip."""
    if not isinstance(segments, (jax.Array, np.ndarray)):
        raise TypeError(f"`segments` must be an array, got {type(segments).__name__}.")
    segments = jnp.asarray(segments)
    if not jnp.issubdtype(segments.dtype, jnp.integer):
        raise TypeError(
            f"`segments` must be integer labels [T, H, W], got {segments.dtype}."
        )
    if segments.shape != clip.shape[:3]:
        raise ValueError(
            f"`segments` must be [T, H, W] = {clip.shape[:3]}, as the clip, got shape "
            f"{segments.shape}."
        )
    return segments


@dataclasses.dataclass(frozen=True)
class LabelsBelow:
    """The check of a method whose setting `num_segments` bounds the labels.

    Attributes:
      num_segments: labels are 0..num_segments - 1; not all of them need occur.
    """

    num_segments: int

    def __call__(self, segments: Any, clip: jax.Array) -> jax.Array:
        """`check_segments`, and labels in range where they are known."""
        given, segments = segments, check_segments(segments, clip)
        if not isinstance(given, jax.core.Tracer):
            # Inside another trace JAX would make tracers of what is known.
            known = np.asarray(given)
            low, high = int(known.min()), int(known.max())
            if low < 0 or high >= self.num_segments:
                raise ValueError(
                    f"`segments` must have labels in 0..{self.num_segments - 1}, got "
                    f"{low}..{high}: set `num_segments` above every label."
                )
        if segments.dtype.itemsize < 4:
            segments = segments.astype(jnp.int32)
        return segments


def segment_inputs(num_segments: int) -> dict[str, Callable[[Any, Any], jax.Array]]:
    """What the call of a method on segments takes after the target; see `explainer`.

    Raises:
      ValueError: `num_segments` is not an integer of at least 1.
    """
    check_count("num_segments", num_segments)
    return {"segments": LabelsBelow(int(num_segments))}


def sizes(segments: jax.Array, num_segments: int) -> jax.Array:
    """Voxels of every segment, [num_segments] int32."""
    ones = jnp.ones(segments.size, jnp.int32)
    return jax.ops.segment_sum(ones, segments.ravel(), num_segments)


def sums(heat: jax.Array, segments: jax.Array, num_segments: int) -> jax.Array:
    """Sum of a map [T, H, W] over every segment, [num_segments]."""
    return jax.ops.segment_sum(heat.ravel(), segments.ravel(), num_segments)


def in_range(segments: jax.Array, num_segments: int) -> jax.Array:
    """1 where all labels are in 0..num_segments - 1, else NaN: what traced ones get."""
    valid = (segments >= 0) & (segments < num_segments)
    return jnp.where(valid.all(), 1, jnp.nan)


def paint(values: jax.Array, segments: jax.Array) -> jax.Array:
    """To every voxel what its segment has: [num_segments] -> [T, H, W].

    All of it is NaN where a traced label is out of range.
    """
    painted = values[segments.clip(0, values.shape[0] - 1)]
    return painted * in_range(segments, values.shape[0]).astype(values.dtype)
