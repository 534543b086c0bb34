"""A network of full 3-D convolutions for all families of evidence clips.

After Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks",
ICCV 2015, with mean pooling in place of maxima.
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


class Evidence3D(nnx.Module):
    """The network: clip `[..., 16, 56, 56, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. Batch norm
    uses its running statistics until `.train()` is called. Taps: "block1" to "block4",
    of shape `[..., T', H', W', C']`.

    Attributes:
      name: by which its weights are found.
      spec: what the network wants its clip to be.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "evidence_3d"
        taps = {
            "block1": (16, 14, 14, 24),
            "block2": (16, 7, 7, 32),
            "block3": (8, 7, 7, 36),
            "block4": (4, 7, 7, 44),
        }
        self.spec = clip_spec(num_classes, "block4", taps)
        self.block1 = Convolution(48, 24, (3, 2, 2), rngs=rngs)
        self.block2 = Convolution(24, 32, (3, 3, 3), rngs=rngs)
        self.block3 = Convolution(32, 36, (3, 3, 3), rngs=rngs)
        self.block4 = Convolution(36, 44, (3, 3, 3), rngs=rngs)
        self.head = nnx.Linear(44, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of `[..., 16, 56, 56, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if its shape is another.
        """
        x, leading = cells_of(clip, self.head.kernel.dtype)
        x = tap(self.block1(x), leading, "block1")
        x = tap(self.block2(mean_pool(x, 1, 2)), leading, "block2")
        x = tap(self.block3(mean_pool(x, 2, 1)), leading, "block3")
        x = tap(self.block4(mean_pool(x, 2, 1)), leading, "block4")
        logits = self.head(x.mean((1, 2, 3)))
        return logits.reshape(*leading, logits.shape[-1])


def evidence_3d(
    num_classes: int = len(LABELS),
    weights: str | os.PathLike | None = "families-0",
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Evidence3D:
    """The 3-D convolutional network for evidence clips; nothing to download.

    Args:
      num_classes: K, the number of logits.
      weights: "families-0" or "families-1" (two trainings, shipped with this package),
        a `.safetensors` file, or None for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network in evaluation mode: 110,056 parameters and statistics at 24 classes.

    Raises:
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    return make(Evidence3D, num_classes, weights, seed, dtype)
