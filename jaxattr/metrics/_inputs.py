"""What a metric takes beside the clip and the target, checked before it runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_heatmap(heatmap: Any, clip: jax.Array) -> jax.Array:
    """Raises unless `heatmap` is a finite map [T, H, W] of the clip.

    Values are looked at only where they are known: under a trace, `poison` tells.
    """
    return check_finite("heatmap", heatmap, clip.shape[:3])


def check_values(values: Any, clip: jax.Array) -> jax.Array:
    """Raises unless `values` are a finite attribution of the clip's shape."""
    return check_finite("values", values, clip.shape)


def check_finite(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    """Raises unless `value` holds finite floating-point numbers of a shape."""
    if not isinstance(value, (jax.Array, np.ndarray)):
        raise TypeError(f"`{name}` must be an array, got {type(value).__name__}.")
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"`{name}` must be floating point, got {value.dtype}.")
    if value.shape != tuple(shape):
        wanted = "[T, H, W]" if len(shape) == 3 else "[T, H, W, C]"
        raise ValueError(
            f"`{name}` must be {wanted} = {tuple(shape)}, as the clip, got shape "
            f"{value.shape}; {_ADVICE[len(shape)]}"
        )
    if not isinstance(value, jax.core.Tracer) and not np.isfinite(value).all():
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return value


_ADVICE = {
    3: "reduce channels with `jaxattr.to_heatmap`, and bring a coarse map to the "
    "clip's size before it (CAM methods do with resize=True).",
    4: "pass the raw `values` of a method, before `jaxattr.to_heatmap`.",
}


def poison(value: jax.Array, dtype: Any) -> jax.Array:
    """1, or NaN where a traced input holds what `check_finite` would have refused."""
    return jnp.where(jnp.isfinite(value).all(), 1, jnp.nan).astype(dtype)
