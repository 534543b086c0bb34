"""What the video transformers share: sizes, tubelets, attention, blocks.

Attention is written out, scores, softmax and mixture, so that a program that is traced
shows its maps.
"""

import dataclasses
import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxattr_models._clip import as_batch, tap
from jaxattr_models._initialise import usual
from jaxattr_models.spec import ClipSpec


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The extents of a transformer with joint attention over space and time.

    Attributes:
      num_frames: T, frames of a clip.
      size: (H, W) in pixels.
      tubelet: frames and pixels of one token, (t, h, w).
      width: D, features of a token.
      depth: number of blocks.
      heads: of every attention; they share the width evenly.
      hidden: features inside of every perceptron.
    """

    num_frames: int
    size: tuple[int, int]
    tubelet: tuple[int, int, int]
    width: int
    depth: int
    heads: int
    hidden: int

    def __post_init__(self):
        for name, rank in (("size", 2), ("tubelet", 3)):
            if len(getattr(self, name)) != rank:
                raise ValueError(
                    f"`{name}` must be {rank} numbers, got {getattr(self, name)}."
                )
        for name, value in dataclasses.asdict(self).items():
            if np.min(value) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        if self.num_frames % self.tubelet[0]:
            raise ValueError(
                f"`num_frames` must be a multiple of {self.tubelet[0]}, the frames of "
                f"a `tubelet`, got {self.num_frames}."
            )
        if any(n % step for n, step in zip(self.size, self.tubelet[1:])):
            raise ValueError(
                f"`size` must be multiples of {self.tubelet[1:]}, the pixels of a "
                f"`tubelet`, got {self.size}."
            )
        if self.width % self.heads:
            raise ValueError(
                f"`width` must be a multiple of `heads`, got {self.width} and "
                f"{self.heads}."
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens in time, height and width."""
        (height, width), (t, h, w) = self.size, self.tubelet
        return self.num_frames // t, height // h, width // w

    @property
    def taps(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """What `encode` names, in order, with shapes."""
        names = ["tokens", *layers(self.depth)]
        names.insert(-1, last_norm(self.depth))
        return tuple((name, (*self.grid, self.width)) for name in names)


class LayerNorm(nnx.Module):
    """Layer norm; NNX's own does not run in float64 under strict promotion."""

    def __init__(self, width: int, epsilon: float):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., D]` to `[..., D]`; statistics are float32 or wider."""
        dtype = x.dtype
        x = x.astype(dtype if dtype.itemsize >= 4 else jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + self.epsilon)
        before = tuple(range(x.ndim - 1))
        scale, bias = (
            jnp.expand_dims(leaf[...], before) for leaf in (self.scale, self.bias)
        )
        return x.astype(dtype) * scale + bias


class Attention(nnx.Module):
    """Multi-head self-attention over the axis before the features."""

    def __init__(
        self, width: int, heads: int, *, key_bias: bool = True, rngs: nnx.Rngs
    ):
        self.heads = heads
        self.query = nnx.Linear(width, width, rngs=rngs)
        self.key = nnx.Linear(width, width, use_bias=key_bias, rngs=rngs)
        self.value = nnx.Linear(width, width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., N, D]` to `[..., N, D]`."""
        split = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        query, key, value = (
            project(x).reshape(split) for project in (self.query, self.key, self.value)
        )
        scores = jnp.einsum("...qhd,...khd->...hqk", query, key)
        weights = nnx.softmax(scores * split[-1] ** -0.5)
        mixed = jnp.einsum("...hqk,...khd->...qhd", weights, value)
        return self.out(mixed.reshape(x.shape))


class Tubelets(nnx.Module):
    """Embeds tubelets that do not overlap: a convolution with stride = kernel.

    Written as a reshape and a product of matrices, which is the same and quick on a
    CPU; the kernel has the shape of the convolution's, `[t, h, w, C, D]`.
    """

    def __init__(self, tubelet: tuple[int, int, int], width: int, *, rngs: nnx.Rngs):
        initial = nnx.initializers.lecun_normal(in_axis=(0, 1, 2, 3))
        self.kernel = nnx.Param(initial(rngs.params(), (*tubelet, 3, width)))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, clips: jax.Array) -> jax.Array:
        """Maps `[B, T, H, W, C]` to tokens `[B, N, D]`, time first, then rows."""
        batch, *extent, channels = clips.shape
        t, h, w, _, width = self.kernel.shape
        times, rows, columns = (n // step for n, step in zip(extent, (t, h, w)))
        x = clips.reshape(batch, times, t, rows, h, columns, w, channels)
        x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
        x = x.reshape(batch, times * rows * columns, -1)
        return x @ self.kernel[...].reshape(-1, width) + self.bias[...][None, None]


class Block(nnx.Module):
    """Attention and a perceptron, each behind a layer norm."""

    def __init__(
        self,
        sizes: Sizes,
        *,
        epsilon: float,
        key_bias: bool,
        tanh_gelu: bool,
        rngs: nnx.Rngs,
    ):
        self.tanh_gelu = tanh_gelu
        self.layernorm_before = LayerNorm(sizes.width, epsilon)
        self.attention = Attention(
            sizes.width, sizes.heads, key_bias=key_bias, rngs=rngs
        )
        self.layernorm_after = LayerNorm(sizes.width, epsilon)
        self.mlp_in = nnx.Linear(sizes.width, sizes.hidden, rngs=rngs)
        self.mlp_out = nnx.Linear(sizes.hidden, sizes.width, rngs=rngs)

    def __call__(self, x: jax.Array, see=lambda normed: normed) -> jax.Array:
        """Maps `[B, N, D]` to `[B, N, D]`; `see` gets the attention's input."""
        x = x + self.attention(see(self.layernorm_before(x)))
        hidden = self.mlp_in(self.layernorm_after(x))
        return x + self.mlp_out(nnx.gelu(hidden, approximate=self.tanh_gelu))


def layers(depth: int) -> list[str]:
    """Names of the blocks."""
    return [f"layer{number + 1}" for number in range(depth)]


def last_norm(depth: int) -> str:
    """The recommended tap: what the last attention sees of every token."""
    return f"layer{depth}.layernorm_before"


def clip_of(
    clip: jax.Array, spec: ClipSpec, dtype: jnp.dtype
) -> tuple[jax.Array, tuple[int, ...]]:
    """Returns the clip as `[B, T, H, W, 3]` in `dtype`, and its leading axes.

    Raises:
      TypeError: if the clip is not of a floating dtype.
      ValueError: if its shape is not the spec's.
    """
    x, leading = as_batch(clip, dtype, channels=3)
    if x.shape[1:4] != (spec.num_frames, *spec.size):
        shape = ", ".join(map(str, (spec.num_frames, *spec.size, 3)))
        raise ValueError(f"`clip` must be [..., {shape}], got shape {jnp.shape(clip)}.")
    return x, leading


def encode(
    blocks: Iterable[Block], x: jax.Array, spec: ClipSpec, leading: tuple[int, ...]
) -> jax.Array:
    """Sends tokens `[B, N, D]` through all blocks, naming what `spec.taps` lists.

    A tap is the grid of `spec.tokens`; a class token before it goes past the tap.
    """
    first = int(spec.class_token)

    def named(x, name):
        grid = x[:, first:].reshape(-1, *spec.tokens, x.shape[-1])
        tokens = tap(grid, leading, name).reshape(-1, x.shape[1] - first, x.shape[-1])
        return jnp.concatenate([x[:, :1], tokens], 1) if first else tokens

    blocks = list(blocks)
    x = named(x, "tokens")
    for name, block in zip(layers(len(blocks) - 1), blocks):
        x = named(block(x), name)
    x = blocks[-1](x, lambda normed: named(normed, last_norm(len(blocks))))
    return named(x, layers(len(blocks))[-1])


def draw(
    rng: np.random.Generator, path: tuple[str, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Random parameters: kernels by fan-in, class token and positions N(0, 0.02)."""
    if path[-1] == "kernel":
        deviation = 1 / math.sqrt(math.prod(shape[:-1]))
    elif path[-1] in ("class_token", "positions"):
        deviation = 0.02
    else:
        return usual(rng, path, shape)
    return np.float32(deviation) * rng.standard_normal(shape, np.float32)
