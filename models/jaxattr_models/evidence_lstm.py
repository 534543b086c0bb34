"""A CNN on every frame and an LSTM over time, for all families of evidence clips.

After Donahue et al., "Long-term Recurrent Convolutional Networks for Visual
Recognition and Description", CVPR 2015. Time meets only in the LSTM. A frame keeps its
7 x 7 grid until the LSTM's input: means over all of it would lose where things are, and
with it every direction of motion.
"""

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
    mean_pool,
)
from jaxattr_models.lrcn import LSTM


class EvidenceLSTM(nnx.Module):
    """The network: clip `[..., 16, 56, 56, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. Batch norm
    uses its running statistics until `.train()` is called. Taps: "block1" to "block3",
    of shape `[..., T', H', W', C']`.

    Attributes:
      name: by which its weights are found.
      spec: what the network wants its clip to be.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "evidence_lstm"
        taps = {
            "block1": (16, 14, 14, 24),
            "block2": (16, 7, 7, 32),
            "block3": (16, 7, 7, 16),
        }
        self.spec = clip_spec(num_classes, "block3", taps)
        self.block1 = Convolution(48, 24, (2, 2), rngs=rngs)
        self.block2 = Convolution(24, 32, (3, 3), rngs=rngs)
        self.block3 = Convolution(32, 16, (3, 3), rngs=rngs)
        self.frame = nnx.Linear(7 * 7 * 16, 64, rngs=rngs)
        self.lstm = LSTM(64, 64, rngs=rngs)
        self.head = nnx.Linear(64, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of `[..., 16, 56, 56, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if its shape is another.
        """
        x, leading = cells_of(clip, self.head.kernel.dtype)
        x = tap(self.block1(x), leading, "block1")
        x = tap(self.block2(mean_pool(x, 1, 2)), leading, "block2")
        x = tap(self.block3(x), leading, "block3")
        x = nnx.relu(self.frame(x.reshape(*x.shape[:2], -1)))
        logits = self.head(self.lstm(x))
        return logits.reshape(*leading, logits.shape[-1])


def evidence_lstm(
    num_classes: int = len(LABELS),
    weights: str | os.PathLike | None = "families-0",
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> EvidenceLSTM:
    """The CNN and LSTM for evidence clips; with its shipped weights, no download.

    Args:
      num_classes: K, the number of logits.
      weights: "families-0" or "families-1" (two trainings, shipped with this package),
        a `.safetensors` file, or None for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network in evaluation mode: 101,240 parameters and statistics at 24 classes.

    Raises:
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    return make(EvidenceLSTM, num_classes, weights, seed, dtype)
