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


TOKENS = (3, 5, 6)


def attend(x):
    """Tokens [90, C] of [T, H, W, C] that have attended to each other, all to all."""
    frames, height, width, channels = x.shape
    blocks = (3, frames // 3, 5, height // 5, 6, width // 6, channels)
    x = x.reshape(blocks).mean((1, 3, 5)).reshape(-1, channels)
    scores = jnp.einsum("qc,kc->qk", x, x)[None]
    return jnp.einsum("hqk,kc->hqc", jax.nn.softmax(scores), x)[0]


def _weights(seed, dtype):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(3, 3, 3, 3, 4)) / 5
    head = rng.normal(size=(4, CLASSES))
    return jnp.asarray(kernel, dtype), jnp.asarray(head, dtype)


def _forward(x, kernel, head, conv, attention=False):
    x = jnp.tanh(conv(x[None], kernel))
    x = cells(jnp.tanh(conv(x, kernel[:, :, :, :, :3].repeat(2, 3)[:, :, :, :4])))
    pooled = attend(x[0]).mean(0) if attention else x.mean((0, 1, 2, 3))
    return 40 * pooled @ head[: x.shape[-1]]


def _conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 2, 2), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["kernel", "head"],
    meta_fields=["attention"],
)
class Dataclass:
    """A callable pytree as Equinox makes them."""

    def __init__(self, kernel, head, attention=False):
        self.kernel, self.head, self.attention = kernel, head, attention

    def __call__(self, x):
        return _forward(x, self.kernel, self.head, _conv, self.attention)


class Linen(linen.Module):
    dtype: jnp.dtype = jnp.float64
    attention: bool = False

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (3, 3, 3), param_dtype=self.dtype, dtype=self.dtype)(x[None])
        x = cells(jnp.tanh(x)[0])
        pooled = attend(x).mean(0) if self.attention else x.mean((0, 1, 2))
        return linen.Dense(CLASSES, param_dtype=self.dtype, dtype=self.dtype)(pooled)


class NNX(nnx.Module):
    def __init__(self, seed, dtype, attention=False):
        self.attention = attention
        rngs = nnx.Rngs(seed)
        kinds = {"param_dtype": dtype, "dtype": dtype, "rngs": rngs}
        self.conv = nnx.Conv(3, 4, (3, 3, 3), **kinds)
        self.head = nnx.Linear(4, CLASSES, **kinds)

    def __call__(self, x):
        x = cells(jnp.tanh(self.conv(x[None])[0]))
        return self.head(attend(x).mean(0) if self.attention else x.mean((0, 1, 2)))


def make(kind, seed=0, dtype=jnp.float64, attention=False):
    """A network of one kind: same seed, same weights; other seed, same shapes."""
    if kind == "nnx":
        return NNX(seed, dtype, attention)
    if kind == "linen":
        module = Linen(dtype, attention)
        variables = module.init(jax.random.key(seed), clip(dtype=dtype))
        return jax.tree_util.Partial(module.apply, variables)
    if kind == "dataclass":
        return Dataclass(*_weights(seed, dtype), attention)
    kernel, head = _weights(seed, dtype)
    return lambda x: _forward(x, kernel, head, _conv, attention)
