"""A small (2+1)D network for the clips of `jaxattr.data.evidence`, with its weights.

It exists to be explained: on its clips the cause of every answer is known, it answers
nearly all of them right, and a gradient of it costs milliseconds on a CPU. Every
convolution has stride 1 and is two-dimensional, over space or over (time, pixels);
resolution is lost in a space-to-depth and two mean pools. Strided convolutions would
make the gradient three times as dear on a CPU.
"""

import os

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxattr_models._clip import as_batch
from jaxattr_models._initialise import build
from jaxattr_models.spec import ClipSpec

LABELS = ("left", "right", "up", "down", "grow", "shrink", "spin", "blink")

_PATCH = 4  # Pixels of a space-to-depth cell, on each side.


class Unit(nnx.Module):
    """A convolution over space and one over time, each with batch norm and ReLU."""

    def __init__(self, features_in, middle, features_out, size, *, rngs: nnx.Rngs):
        def conv(features_in, features_out, kernel):
            return nnx.Conv(
                features_in, features_out, kernel, use_bias=False, rngs=rngs
            )

        def norm(features):
            return nnx.BatchNorm(
                features, use_running_average=True, momentum=0.9, rngs=rngs
            )

        self.space = conv(features_in, middle, (size, size))
        self.space_norm = norm(middle)
        self.time = conv(middle, features_out, (3, 1))
        self.time_norm = norm(features_out)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, T, H, W, C]` to `[B, T, H, W, C']`."""
        batch, frames, height, width, _ = x.shape
        x = x.reshape(batch * frames, height, width, -1)
        x = nnx.relu(self.space_norm(self.space(x)))
        x = x.reshape(batch, frames, height * width, -1)
        x = nnx.relu(self.time_norm(self.time(x)))
        return x.reshape(batch, frames, height, width, -1)


class Evidence(nnx.Module):
    """The network: clip `[..., T, H, W, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. Batch norm
    uses its running statistics until `.train()` is called; from then on each call
    updates them. Taps: "block1", "block2", "block3", of shape `[..., T', H', W', C']`.

    Attributes:
      name: by which its weights are found.
      spec: what the network wants its clip to be.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "evidence"
        self.spec = ClipSpec(
            num_frames=16,
            size=(56, 56),
            mean=(0.45, 0.45, 0.45),
            std=(0.25, 0.25, 0.25),
            sampling="uniform",
            labels=LABELS if num_classes == len(LABELS) else (),
            tap="block3",
            taps=(
                ("block1", (16, 14, 14, 24)),
                ("block2", (16, 7, 7, 48)),
                ("block3", (8, 7, 7, 64)),
            ),
        )
        self.block1 = Unit(3 * _PATCH**2, 16, 24, 2, rngs=rngs)
        self.block2 = Unit(24, 32, 48, 3, rngs=rngs)
        self.block3 = Unit(48, 48, 64, 3, rngs=rngs)
        self.head = nnx.Linear(64, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of a clip `[..., T, H, W, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if its shape is another, T is odd, or H or W no multiple of 8.
        """
        x, leading = as_batch(clip, self.head.kernel.dtype, channels=3)
        if x.shape[1] % 2 or x.shape[2] % (2 * _PATCH) or x.shape[3] % (2 * _PATCH):
            raise ValueError(
                "`clip` must have an even number of frames, and a height and width "
                f"that are multiples of {2 * _PATCH}, got shape {jnp.shape(clip)}."
            )

        def tap(x, name):
            named = checkpoint_name(x.reshape(*leading, *x.shape[1:]), name)
            return named.reshape(x.shape)

        x = tap(self.block1(_space_to_depth(x)), "block1")
        x = tap(self.block2(_mean_pool(x, 1, 2)), "block2")
        x = tap(self.block3(_mean_pool(x, 2, 1)), "block3")
        logits = self.head(x.mean((1, 2, 3)))
        return logits.reshape(*leading, logits.shape[-1])


def evidence(
    num_classes: int = 8,
    weights: str | os.PathLike | None = "evidence",
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Evidence:
    """The evidence network; with its shipped weights it needs no download.

    Args:
      num_classes: K, the number of logits; its labels are known for 8 only.
      weights: "evidence" (shipped with this package), a `.safetensors` file, or None
        for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network in evaluation mode: 47,144 parameters and statistics.

    Raises:
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}.")
    return build(lambda: Evidence(num_classes, rngs=nnx.Rngs(0)), weights, seed, dtype)


def _space_to_depth(x: jax.Array) -> jax.Array:
    """[B, T, H, W, C] to [B, T, H/4, W/4, 16C], so that the first stride is free."""
    batch, frames, height, width, channels = x.shape
    high, wide = height // _PATCH, width // _PATCH
    x = x.reshape(batch, frames, high, _PATCH, wide, _PATCH, channels)
    x = x.transpose(0, 1, 2, 4, 3, 5, 6)
    return x.reshape(batch, frames, high, wide, _PATCH**2 * channels)


def _mean_pool(x: jax.Array, time: int, space: int) -> jax.Array:
    batch, frames, height, width, channels = x.shape
    x = x.reshape(
        batch,
        frames // time,
        time,
        height // space,
        space,
        width // space,
        space,
        channels,
    )
    return x.mean((2, 4, 6))
