"""Small networks of every kind that a user may bring."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax.ad_checkpoint import checkpoint_name

SHAPE = (6, 20, 24, 3)  # T, H, W, C all differ.
CLASSES = 5


def clip(seed=0, dtype=jnp.float64, shape=SHAPE):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values, dtype)


def cells(x):
    """What layer methods look at: positive, and made by something like a ReLU."""
    return checkpoint_name(jax.nn.leaky_relu(x, 0.5) ** 2, "cells")


def _weights(seed, dtype):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(3, 3, 3, 3, 4)) / 5
    head = rng.normal(size=(4, CLASSES))
    return jnp.asarray(kernel, dtype), jnp.asarray(head, dtype)


def _forward(x, kernel, head, conv):
    x = jnp.tanh(conv(x[None], kernel))
    x = cells(jnp.tanh(conv(x, kernel[:, :, :, :, :3].repeat(2, 3)[:, :, :, :4])))
    return 40 * x.mean((0, 1, 2, 3)) @ head[: x.shape[-1]]


def _conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 2, 2), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["kernel", "head"], meta_fields=[]
)
class Dataclass:
    """A callable pytree as Equinox makes them."""

    def __init__(self, kernel, head):
        self.kernel, self.head = kernel, head

    def __call__(self, x):
        return _forward(x, self.kernel, self.head, _conv)


class Linen(linen.Module):
    dtype: jnp.dtype = jnp.float64

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (3, 3, 3), param_dtype=self.dtype, dtype=self.dtype)(x[None])
        x = cells(jnp.tanh(x)[0])
        return linen.Dense(CLASSES, param_dtype=self.dtype, dtype=self.dtype)(
            x.mean((0, 1, 2))
        )


class NNX(nnx.Module):
    def __init__(self, seed, dtype):
        rngs = nnx.Rngs(seed)
        kinds = {"param_dtype": dtype, "dtype": dtype, "rngs": rngs}
        self.conv = nnx.Conv(3, 4, (3, 3, 3), **kinds)
        self.head = nnx.Linear(4, CLASSES, **kinds)

    def __call__(self, x):
        x = cells(jnp.tanh(self.conv(x[None])[0]))
        return self.head(x.mean((0, 1, 2)))


def make(kind, seed=0, dtype=jnp.float64):
    """A network of one kind: same seed, same weights; other seed, same shapes."""
    if kind == "nnx":
        return NNX(seed, dtype)
    if kind == "linen":
        module = Linen(dtype)
        variables = module.init(jax.random.key(seed), clip(dtype=dtype))
        return jax.tree_util.Partial(module.apply, variables)
    if kind == "dataclass":
        return Dataclass(*_weights(seed, dtype))
    kernel, head = _weights(seed, dtype)
    return lambda x: _forward(x, kernel, head, _conv)
