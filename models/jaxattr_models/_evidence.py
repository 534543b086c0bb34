"""What the networks for all families of evidence clips share: shape, spec, parts."""

import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxattr_models import _initialise
from jaxattr_models._clip import as_batch
from jaxattr_models.spec import ClipSpec

# The label space of all families, as `jaxattr.data.evidence` numbers it.
LABELS = (
    *("left", "right", "up", "down", "grow", "shrink", "spin", "blink"),
    *("disc", "ring", "cross", "checks"),
    *("white, then black", "black, then white"),
    *("cyan and orange", "purple and lime"),
    *("cyan or orange", "purple or lime"),
    *("sand", "water", "grass"),
    *("black and white trigger", "green and magenta trigger"),
    "none",
)

FRAMES, SIZE, PATCH = 16, 56, 4  # PATCH: pixels of a space-to-depth cell, on a side.
CELLS = SIZE // PATCH


def clip_spec(num_classes: int, tap: str, taps: dict[str, tuple[int, ...]]) -> ClipSpec:
    """The spec of a network for these clips; `taps` as in `ClipSpec`, by name."""
    return ClipSpec(
        num_frames=FRAMES,
        size=(SIZE, SIZE),
        mean=(0.45, 0.45, 0.45),
        std=(0.25, 0.25, 0.25),
        sampling="uniform",
        labels=LABELS if num_classes == len(LABELS) else (),
        tap=tap,
        taps=tuple(taps.items()),
    )


def cells_of(clip: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, tuple[int, ...]]:
    """Returns `[B, T, 14, 14, 48]`, one cell for 4 x 4 pixels, and the leading axes.

    A space-to-depth in place of a strided convolution, whose gradient with respect to
    its input is three times as dear on a CPU.

    Raises:
      TypeError: if the clip is not of a floating dtype.
      ValueError: if it is not of shape `[..., 16, 56, 56, 3]`.
    """
    x, leading = as_batch(clip, dtype, channels=3)
    if x.shape[1:4] != (FRAMES, SIZE, SIZE):
        raise ValueError(
            f"`clip` must be [..., {FRAMES}, {SIZE}, {SIZE}, 3], got shape "
            f"{jnp.shape(clip)}."
        )
    x = x.reshape(-1, FRAMES, CELLS, PATCH, CELLS, PATCH, 3)
    x = x.transpose(0, 1, 2, 4, 3, 5, 6)
    return x.reshape(-1, FRAMES, CELLS, CELLS, PATCH**2 * 3), leading


def mean_pool(x: jax.Array, time: int, space: int) -> jax.Array:
    """Means over blocks of `time` frames and `space` pixels on each side."""
    batch, frames, height, width, channels = x.shape
    frames, height, width = frames // time, height // space, width // space
    x = x.reshape(batch, frames, time, height, space, width, space, channels)
    return x.mean((2, 4, 6))


class Convolution(nnx.Module):
    """A convolution of stride 1, batch norm and ReLU.

    The kernel spans the last axes before the channels, space or time and space, and all
    axes before them are batch axes.
    """

    def __init__(self, features_in, features_out, kernel, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(
            features_in, features_out, kernel, use_bias=False, rngs=rngs
        )
        self.norm = nnx.BatchNorm(
            features_out, use_running_average=True, momentum=0.9, rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., C]` to `[..., C']`."""
        return nnx.relu(self.norm(self.conv(x)))


def draw(
    rng: np.random.Generator, path: tuple[str, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Random parameters as usual, save for what lies deep inside a network.

    Matrices go by fan-in, and an LSTM starts by remembering: bias 1 on its forget gate.
    """
    if len(shape) == 2:
        deviation = 0.1 if path[-1].endswith("positions") else 1 / math.sqrt(shape[0])
        return np.float32(deviation) * rng.standard_normal(shape, np.float32)
    if path == ("lstm", "bias"):
        return np.repeat(np.float32([0, 1, 0, 0]), shape[0] // 4)
    return _initialise.usual(rng, path, shape)


def make(
    network: type[nnx.Module],
    num_classes: int,
    weights: str | os.PathLike | None,
    seed: int,
    dtype: jax.typing.DTypeLike,
) -> nnx.Module:
    """One of the networks, in evaluation mode and with its weights.

    Raises:
      ValueError: if `num_classes` is not positive.
    """
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}.")
    return _initialise.build(
        lambda: network(num_classes, rngs=nnx.Rngs(0)), weights, seed, dtype, draw
    )
