"""What stands in the place of a voxel that is taken away."""

import numbers
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import filled, narrow, widen
from jaxattr._gaussian import blur_frames

Name = Literal["mean", "fade", "clip_mean", "blur", "black", "median", "noise"]

_BLUR = 20.0  # Pixels at 112: the lowest level of the study's blur pyramid.


def check_substitute(
    substitute: Any, f: Any, also: tuple[str, ...] = ()
) -> tuple[str, Any]:
    """Splits the setting `substitute` into a static name and an array.

    Args:
      substitute: "mean" or "fade", 0 in network units; "clip_mean", of every channel;
        "blur", every frame blurred by 20 pixels where its shorter side is 112, zeros
        outside; "median", over time, of every pixel; "noise" of every channel's mean
        and spread, the same pattern for every clip; "black", which needs `f.spec`; or a
        number or array that broadcasts to the clip, in its units.
      f: the network.
      also: further names, which `fill_in` does not know.

    Raises:
      ValueError: an unknown name; "black" for a network without `spec`.
      TypeError: what is neither a name nor numbers.
    """
    names = (*get_args(Name), *also)
    if isinstance(substitute, str):
        if substitute not in names:
            raise ValueError(
                f"`substitute` must be one of {names} or an array, got {substitute!r}."
            )
        if substitute in ("mean", "fade"):
            return "value", 0.0
        if substitute == "black":
            return "value", _black(f)
        return substitute, 0.0
    if not _is_numeric(substitute):
        kind = getattr(substitute, "dtype", type(substitute).__name__)
        raise TypeError(
            f"`substitute` must be one of {names}, a real number or an array of them, "
            f"got {kind}."
        )
    return "value", substitute


def _is_numeric(value):
    if isinstance(value, (np.ndarray, jax.Array)):
        kinds = jnp.floating, jnp.integer
        return any(jnp.issubdtype(value.dtype, kind) for kind in kinds)
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def fill_in(name: str, value: jax.Array, clip: jax.Array) -> jax.Array:
    """The clip of substitutes, [T, H, W, C] in the clip's dtype.

    Args:
      name: static half of what `check_substitute` returned.
      value: the other half.
      clip: [T, H, W, C].
    """
    wide = widen(clip)
    if name == "clip_mean":
        value = wide.mean((0, 1, 2))
    elif name == "median":
        value = jnp.median(wide, 0, keepdims=True)
    elif name == "noise":
        value = noise_like(wide, jax.random.key(0))
    elif name == "blur":
        value = blur_frames(wide, _BLUR * min(1, min(clip.shape[1:3]) / 112))
    return narrow(filled(value, clip, "substitute"), clip)


def noise_like(clip: jax.Array, key: jax.Array) -> jax.Array:
    """Noise of every channel's mean and spread, of the clip's shape [T, H, W, C]."""
    pattern = jax.random.normal(key, clip.shape, clip.dtype)
    mean, spread = (m((0, 1, 2), keepdims=True) for m in (clip.mean, clip.std))
    return mean + spread * pattern


def _black(f):
    spec = getattr(f, "spec", None)
    if spec is None:
        raise ValueError(
            "`substitute` 'black' needs a network with a `spec` that says what black "
            "is; pass substitute=(0 - mean) / std, an array [C], instead."
        )
    return -np.asarray(spec.mean, np.float64) / np.asarray(spec.std, np.float64)
