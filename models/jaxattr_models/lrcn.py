"""LRCN: a small CNN on every frame and an LSTM over time.

After Donahue et al., "Long-term Recurrent Convolutional Networks for Visual
Recognition and Description", CVPR 2015, in the size often trained on UCF50.
"""

import dataclasses
import os

import jax
import jax.numpy as jnp
from flax import nnx

from jaxattr_models._clip import as_batch, tap
from jaxattr_models._initialise import build
from jaxattr_models.spec import ClipSpec

LABELS = ("WalkingWithDog", "PlayingGuitar", "Swing", "HorseRiding")

_FRAMES, _SIZE = 20, 64
_WIDTHS = (16, 32, 64, 64)
_POOLS = (4, 4, 2, 2)  # Together 64: what is left of a frame is one pixel.
_UNITS = 32
_SPEC = ClipSpec(
    num_frames=_FRAMES,
    size=(_SIZE, _SIZE),
    channel_order="bgr",
    sampling="uniform",
    short="stretch",
    tap="conv2",
    taps=(("conv1", (_FRAMES, 16, 16, 32)), ("conv2", (_FRAMES, 4, 4, 64))),
)


class LSTM(nnx.Module):
    """A Keras LSTM: gates in the order input, forget, cell, output; one bias."""

    def __init__(self, features: int, units: int, *, rngs: nnx.Rngs):
        initial = nnx.initializers.glorot_uniform()
        self.kernel = nnx.Param(initial(rngs.params(), (features, 4 * units)))
        self.recurrent_kernel = nnx.Param(initial(rngs.params(), (units, 4 * units)))
        self.bias = nnx.Param(jnp.zeros(4 * units))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, T, C]` to the last hidden state `[B, units]`."""
        inputs = x @ self.kernel[...] + self.bias[...][None, None]
        recurrent = self.recurrent_kernel[...]

        def step(carry, x):
            hidden, cell = carry
            gates = jnp.split(x + hidden @ recurrent, 4, axis=-1)
            write, keep, read = (nnx.sigmoid(gates[i]) for i in (0, 1, 3))
            cell = keep * cell + write * nnx.tanh(gates[2])
            return (read * nnx.tanh(cell), cell), None

        zeros = jnp.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
        (hidden, _), _ = jax.lax.scan(step, (zeros, zeros), inputs.swapaxes(0, 1))
        return hidden


class LRCN(nnx.Module):
    """The network: clip `[..., T, 64, 64, 3]` to logits `[..., K]`; any T.

    It computes in the dtype of its parameters, to which the clip is cast. Taps, after
    their ReLU and before their pool: "conv1" `[..., T, 16, 16, 32]` and "conv2"
    `[..., T, 4, 4, 64]`.

    Attributes:
      name: of the architecture.
      spec: what the network wants its clip to be.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "lrcn"
        self.spec = _spec(num_classes)
        for index, width in enumerate(_WIDTHS):
            features = _WIDTHS[index - 1] if index else 3
            conv = nnx.Conv(features, width, (3, 3), padding=((1, 1),) * 2, rngs=rngs)
            setattr(self, f"conv{index}", conv)
        self.lstm = LSTM(_WIDTHS[-1], _UNITS, rngs=rngs)
        self.dense = nnx.Linear(_UNITS, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, before the softmax, of `[..., T, 64, 64, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if it is not of shape `[..., T, 64, 64, 3]`.
        """
        clips, leading = as_batch(clip, self.dense.kernel.dtype, channels=3)
        batch, frames, *size, _ = clips.shape
        if size != [_SIZE, _SIZE]:
            raise ValueError(
                f"`clip` must have frames of {_SIZE} by {_SIZE} pixels, got shape "
                f"{jnp.shape(clip)}."
            )
        x = clips.reshape(batch * frames, *clips.shape[2:])
        for index, pool in enumerate(_POOLS):
            name = f"conv{index}"
            x = nnx.relu(getattr(self, name)(x))
            if name in dict(self.spec.taps):
                per_clip = tap(x.reshape(batch, frames, *x.shape[1:]), leading, name)
                x = per_clip.reshape(x.shape)
            x = nnx.max_pool(x, (pool, pool), strides=(pool, pool))
        logits = self.dense(self.lstm(x.reshape(batch, frames, -1)))
        return logits.reshape(*leading, logits.shape[-1])


def _spec(num_classes: int) -> ClipSpec:
    if num_classes != len(LABELS):
        return _SPEC
    return dataclasses.replace(_SPEC, labels=LABELS)


def lrcn(
    num_classes: int = 4,
    weights: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> LRCN:
    """LRCN for 20 frames of 64 by 64 pixels, in BGR order.

    Args:
      num_classes: K, the number of logits; its labels (of UCF50) are known for 4 only.
      weights: a `.safetensors` file with these names, or None for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network: 73,060 parameters at 4 classes.

    Raises:
      CheckpointError: if the weights are broken or of another network.
      FileNotFoundError: if the file does not exist.
    """
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}.")
    return build(lambda: LRCN(num_classes, rngs=nnx.Rngs(0)), weights, seed, dtype)
