"""Fills a network that so far has shapes only: random parameters, or a checkpoint's."""

import math
import os
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxattr_models.weights import load

Module = TypeVar("Module", bound=nnx.Module)
Path, Shape = tuple[str, ...], tuple[int, ...]
Draw = Callable[[np.random.Generator, Path, Shape], np.ndarray]


def usual(rng: np.random.Generator, path: Path, shape: Shape) -> np.ndarray:
    """He et al. 2015 by fan-out for convolutions, N(0, 0.01) for a matrix."""
    name = path[-1]
    if name in ("scale", "var"):
        return np.ones(shape, np.float32)
    if not name.endswith("kernel"):
        return np.zeros(shape, np.float32)
    fan_out = math.prod(shape[:-2]) * shape[-1]
    deviation = math.sqrt(2 / fan_out) if len(shape) > 2 else 0.01
    return np.float32(deviation) * rng.standard_normal(shape, np.float32)


def build(
    make: Callable[[], Module],
    weights: str | os.PathLike | None,
    seed: int,
    dtype: jax.typing.DTypeLike,
    draw: Draw = usual,
) -> Module:
    """Makes a network without computing anything, then gives it its parameters.

    Args:
      make: builds the module; it is only traced, so its initialisers cost nothing.
      weights: None for random parameters, the name of published weights, or a file.
      seed: of the random parameters; the same on every platform.
      dtype: floating dtype of every parameter and statistic.
      draw: random parameters from (generator, path, shape).

    Returns:
      The module, every leaf of `dtype`.
    """
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"`dtype` must be a floating dtype, got {dtype}.")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"`dtype` is {dtype}, which JAX would narrow silently; turn on "
            "`jax_enable_x64` first."
        )
    net = nnx.eval_shape(make)
    state = nnx.to_flat_state(nnx.state(net))
    rng = np.random.default_rng(seed)
    for path, variable in state:
        shape = variable.shape
        if weights is None:
            names = tuple(map(str, path))
            value = jnp.asarray(draw(rng, names, shape), dtype)
        else:
            value = jax.ShapeDtypeStruct(shape, dtype)
        variable.set_value(value)
    nnx.update(net, nnx.from_flat_state(state))
    if weights is not None:
        load(net, weights)
    return net
