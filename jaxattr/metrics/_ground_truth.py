"""What localisation metrics are given: a heat map, and where the evidence is.

Values are checked where they are concrete. Under `jit` and `vmap` they are not: what
would have raised then makes the result NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import wide
from jaxattr.metrics._boxes import boxes_to_mask, check_boxes


def read_heatmap(
    heatmap: Any, *, non_negative: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Heat map [T, H, W] in float32 or wider, and whether its values are legal, []."""
    heat = as_array("heatmap", heatmap)
    if heat.ndim != 3 or not heat.size:
        raise ValueError(
            f"`heatmap` must be [T, H, W], got shape {tuple(heat.shape)}; reduce "
            "channels with `to_heatmap`, and use jax.vmap for many clips."
        )
    if not jnp.issubdtype(heat.dtype, jnp.floating):
        raise TypeError(f"`heatmap` must be floating point, got {heat.dtype}.")
    heat = heat.astype(wide(heat.dtype))
    valid = jnp.isfinite(heat).all()
    if non_negative:
        valid &= (heat >= 0).all()
    if is_concrete(valid) and not valid:
        kind = "finite and not negative" if non_negative else "finite"
        raise ValueError(
            f"`heatmap` must be {kind}, got {jnp.isnan(heat).sum()} NaN and values "
            f"from {jnp.nanmin(heat)} to {jnp.nanmax(heat)}."
        )
    return heat, valid


def read_mask(truth: Any, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Evidence as a mask of the heat map's shape, and whether there is any, [].

    Args:
      truth: [T, H, W] bool, or boxes [T, 4] as `boxes_to_mask` takes them.
      shape: (T, H, W).
    """
    truth = as_array("truth", truth)
    if truth.ndim == 2:
        boxes, valid = check_boxes(truth, shape)
        mask = boxes_to_mask(boxes, shape)
    elif truth.shape != shape or truth.dtype != bool:
        raise ValueError(
            f"`truth` must be bool of the heat map's shape {tuple(shape)}, or boxes "
            f"[{shape[0]}, 4], got {truth.dtype} of shape {tuple(truth.shape)}."
        )
    else:
        mask, valid = truth, jnp.bool_(True)
    valid &= mask.any()
    if is_concrete(valid) and not valid:
        raise ValueError("`truth` holds no evidence: no voxel is set.")
    return mask, valid


def poison(result: Any, valid: jax.Array) -> Any:
    """Makes the floating-point parts of a result NaN unless `valid`."""
    return jax.tree.map(
        lambda x: (
            jnp.where(valid, x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x
        ),
        result,
    )


def below_one(heat: jax.Array) -> jax.Array:
    """A heat map over the power of two above its absolute values: no sum can overflow.

    For what does not depend on the scale: nothing is rounded, and no gradient goes
    through the maximum.
    """
    _, power = jnp.frexp(jax.lax.stop_gradient(jnp.abs(heat).max()))
    # In two steps: one over a power near the end of float32 is flushed to 0.
    one, half = jnp.ones((), heat.dtype), power // 2
    return heat * jnp.ldexp(one, -half) * jnp.ldexp(one, half - power)


def as_array(name: str, values: Any) -> jax.Array:
    """A JAX array of anything like an array, or TypeError."""
    try:
        return jnp.asarray(values if hasattr(values, "dtype") else np.asarray(values))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` must be one array, got {type(values).__name__}; of several "
            "arrays pass one at a time."
        ) from error


def is_concrete(value: Any) -> bool:
    """Whether a value can be looked at: it is not being traced."""
    return not isinstance(value, jax.core.Tracer)
