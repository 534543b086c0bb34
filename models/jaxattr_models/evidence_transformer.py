"""A small space-time transformer for all families of evidence clips.

After Bertasius, Wang and Torresani, "Is Space-Time Attention All You Need for Video
Understanding?", ICML 2021: divided attention, over time and then over space. It
differs in that a token, 8 x 8 pixels of two frames, is embedded in two steps (first its
cells of 4 x 4 pixels), and in that the head reads the mean of all tokens.
"""

import dataclasses
import os

import jax
import jax.numpy as jnp
from flax import nnx

from jaxattr_models._clip import tap
from jaxattr_models._evidence import (
    LABELS,
    Convolution,
    cells_of,
    clip_spec,
    make,
)
from jaxattr_models._vit import Attention, LayerNorm

_TUBE = 2  # Frames of a token.
_TIMES, _SIDE = 8, 7  # Tokens: 8 x 7 x 7.
_CELL, _WIDTH, _HEADS, _HIDDEN = 32, 64, 2, 128
_EPSILON = 1e-6


class Layer(nnx.Module):
    """Attention over time, over space, and a perceptron; each behind a layer norm."""

    def __init__(self, width: int, heads: int, hidden: int, *, rngs: nnx.Rngs):
        self.time_norm = LayerNorm(width, _EPSILON)
        self.time = Attention(width, heads, rngs=rngs)
        self.space_norm = LayerNorm(width, _EPSILON)
        self.space = Attention(width, heads, rngs=rngs)
        self.mlp_norm = LayerNorm(width, _EPSILON)
        self.mlp_in = nnx.Linear(width, hidden, rngs=rngs)
        self.mlp_out = nnx.Linear(hidden, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, T, N, D]` to `[B, T, N, D]`."""
        by_place = self.time_norm(x).swapaxes(1, 2)
        x = x + self.time(by_place).swapaxes(1, 2)
        x = x + self.space(self.space_norm(x))
        return x + self.mlp_out(nnx.gelu(self.mlp_in(self.mlp_norm(x))))


class EvidenceTransformer(nnx.Module):
    """The network: clip `[..., 16, 56, 56, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. Batch norm,
    at the first step only, uses its running statistics until `.train()` is called.
    Taps: "tokens", "layer1" and "layer2", of shape `[..., 8, 7, 7, 64]`.

    Attributes:
      name: by which its weights are found.
      spec: what the network wants its clip to be.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "evidence_transformer"
        grid = (_TIMES, _SIDE, _SIDE)
        taps = dict.fromkeys(("tokens", "layer1", "layer2"), (*grid, _WIDTH))
        spec = clip_spec(num_classes, "layer2", taps)
        self.spec = dataclasses.replace(spec, tokens=grid)
        self.cell = Convolution(48, _CELL, (1, 1), rngs=rngs)
        self.embed = nnx.Linear(_TUBE * 2 * 2 * _CELL, _WIDTH, rngs=rngs)
        self.time_positions = nnx.Param(jnp.zeros((_TIMES, _WIDTH)))
        self.place_positions = nnx.Param(jnp.zeros((_SIDE**2, _WIDTH)))
        self.layer1 = Layer(_WIDTH, _HEADS, _HIDDEN, rngs=rngs)
        self.layer2 = Layer(_WIDTH, _HEADS, _HIDDEN, rngs=rngs)
        self.norm = LayerNorm(_WIDTH, _EPSILON)
        self.head = nnx.Linear(_WIDTH, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of `[..., 16, 56, 56, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if its shape is another.
        """
        x, leading = cells_of(clip, self.head.kernel.dtype)

        def named(x, name):
            grid = x.reshape(-1, _TIMES, _SIDE, _SIDE, _WIDTH)
            return tap(grid, leading, name).reshape(x.shape)

        x = self.cell(x).reshape(-1, _TIMES, _TUBE, _SIDE, 2, _SIDE, 2, _CELL)
        x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, _TIMES, _SIDE**2, 8 * _CELL)
        times, places = self.time_positions[...], self.place_positions[...]
        x = self.embed(x) + times[None, :, None] + places[None, None]
        x = self.layer1(named(x, "tokens"))
        x = self.layer2(named(x, "layer1"))
        x = self.norm(named(x, "layer2"))
        logits = self.head(x.mean((1, 2)))
        return logits.reshape(*leading, logits.shape[-1])


def evidence_transformer(
    num_classes: int = len(LABELS),
    weights: str | os.PathLike | None = "families-0",
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> EvidenceTransformer:
    """The space-time transformer for evidence clips; nothing to download.

    Args:
      num_classes: K, the number of logits.
      weights: "families-0" or "families-1" (two trainings, shipped with this package),
        a `.safetensors` file, or None for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network in evaluation mode: 123,928 parameters and statistics at 24 classes.

    Raises:
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    return make(EvidenceTransformer, num_classes, weights, seed, dtype)
