"""Arithmetic on clips, which are one array or a pytree of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_clip(clip: Any) -> None:
    """Raises TypeError unless all leaves are floating-point arrays, or their shapes."""
    for leaf in jax.tree.leaves(clip):
        if not isinstance(leaf, _ARRAYS):
            raise TypeError(
                "`clip` must be an array [T, H, W, C] or a pytree of arrays, got a "
                f"leaf of type {type(leaf).__name__}."
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"`clip` must be floating point, got {leaf.dtype}; convert and "
                "normalise it as the network expects (see jaxattr.data.read_clip)."
            )


_ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


def wide(dtype: Any) -> Any:
    """The dtype to add up in: float32, or `dtype` where that is wider."""
    return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.float32


def widen(clip: Any) -> Any:
    """Casts every array to float32 unless it is wider: sums are never in bfloat16."""
    return jax.tree.map(lambda x: x.astype(wide(x.dtype)), clip)


def narrow(clip: Any, like: Any) -> Any:
    """Casts every array to the dtype that the network takes."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype), clip, like)


def total(clip: Any) -> jax.Array:
    """Sum over all arrays, []."""
    return sum(leaf.sum() for leaf in jax.tree.leaves(clip))


def check_filling(value: Any, name: str) -> None:
    """Raises TypeError for text in what is to be `filled` into a clip."""
    if any(isinstance(leaf, str) for leaf in jax.tree.leaves(value)):
        raise TypeError(f"`{name}` must be numbers or arrays, got {value!r}.")


def filled(value: Any, clip: Any, name: str) -> Any:
    """A clip of `value`, in the widened dtype.

    Args:
      value: number, array that broadcasts to every array of the clip from the right
        ([C], [T, H, W, C]), or a pytree of the clip's structure.
      clip: gives shapes and dtypes.
      name: the argument that errors name.

    Raises:
      ValueError: `value` does not fit.
    """
    if jax.tree.structure(value) != jax.tree.structure(clip):
        if jax.tree.structure(value) != jax.tree.structure(0):
            raise ValueError(
                f"`{name}` must be a number, an array or a pytree like the clip, got "
                f"{jax.tree.structure(value)} for {jax.tree.structure(clip)}."
            )
        value = jax.tree.map(lambda _: value, clip)

    def fill(v, x):
        try:
            return jnp.broadcast_to(v.astype(x.dtype), x.shape)
        except ValueError as error:
            raise ValueError(
                f"`{name}` of shape {v.shape} does not fit a clip of shape {x.shape}."
            ) from error

    return jax.tree.map(fill, value, widen(clip))
