"""From raw attribution to a heat map: the one place that reduces, blurs and scales."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._gaussian import blur_frames

Channels = Literal[
    "abs_mean", "abs_sum", "abs_max", "sum_abs", "positive_mean", "sum", "mean"
]
Normalise = Literal["range", "max", "none"]

_REDUCE = {
    "abs_mean": lambda v: jnp.abs(v).mean(-1),
    "abs_sum": lambda v: jnp.abs(v).sum(-1),
    "abs_max": lambda v: jnp.abs(v).max(-1),
    "sum_abs": lambda v: jnp.abs(v.sum(-1)),
    "positive_mean": lambda v: jax.nn.relu(v).mean(-1),
    "sum": lambda v: v.sum(-1),
    "mean": lambda v: v.mean(-1),
}


def to_heatmap(
    values: jax.Array,
    *,
    channels: Channels = "abs_mean",
    blur: float = 0.0,
    quantile: float = 1.0,
    normalise: Normalise = "range",
) -> jax.Array:
    """Reduces channels, blurs every frame, clips outliers and scales to 0..1.

    In this order. A map [T, H, W] has no channels to reduce; one that is flat gives
    zero: nothing stands out there. What is not finite stays as it is, where it is:
    minimum and quantile are those of the finite voxels, and the blur takes the others
    as 0 and does not spread them.

    Args:
      values: [T, H, W, C] signed attribution, or [T, H, W] map or mask.
      channels: "abs_mean" (mean of absolute values; the video study's choice for
        gradients), "abs_sum", "abs_max", "sum_abs" (absolute value of the sum),
        "positive_mean", or the signed "sum" and "mean". On [T, H, W] only the
        absolute value or the positive part that these names imply is taken.
      blur: standard deviation in pixels, per frame, the edge repeated.
      quantile: values above this quantile of the clip are clipped to it, 0..1.
      normalise: "range" maps minimum and quantile to 0 and 1; "max" divides by the
        quantile, negative values becoming 0; "none" leaves units as they are.

    Returns:
      [T, H, W], float32 or wider.

    Raises:
      ValueError: an unknown name, a quantile outside 0..1, a negative blur, a rank
        that is neither 3 nor 4.
    """
    for name, value, known in (
        ("channels", channels, get_args(Channels)),
        ("normalise", normalise, get_args(Normalise)),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}, got {value!r}.")
    if not 0 <= quantile <= 1:
        raise ValueError(f"`quantile` must be in 0..1, got {quantile}.")
    if not blur >= 0:
        raise ValueError(f"`blur` must be at least 0 pixels, got {blur}.")
    if values.ndim not in (3, 4):
        raise ValueError(
            "`values` must be [T, H, W, C] or [T, H, W], got shape "
            f"{tuple(values.shape)}; for many clips use jax.vmap."
        )
    values = widen(values)
    raw = _REDUCE[channels](values if values.ndim == 4 else values[..., None])
    finite = jnp.isfinite(raw)
    heat = jnp.where(finite, raw, 0)
    heat = blur_frames(heat[..., None], blur, edge="nearest")[..., 0]
    if quantile < 1:
        top = jnp.nanquantile(jnp.where(finite, heat, jnp.nan), quantile)
    else:
        top = heat.max(initial=-jnp.inf, where=finite)
    low = jnp.zeros_like(top)
    if normalise == "range":
        low = heat.min(initial=jnp.inf, where=finite)
    if normalise == "none":
        heat = jnp.minimum(heat, top)
    else:
        span = top - low
        scaled = (heat - low) / jnp.where(span > 0, span, 1)
        heat = jnp.where(span > 0, scaled.clip(0, 1), 0)
    return jnp.where(finite, heat, raw)
