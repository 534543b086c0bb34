"""A factored network for all families of evidence clips: (2+1)-D convolutions.

After Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action
Recognition", CVPR 2018: every convolution is one over space and one over time. It is
`evidence` with a fourth block, so that what it sees spans the clip.
"""

import os

import jax
import jax.numpy as jnp
from flax import nnx

from jaxattr_models._clip import tap
from jaxattr_models._evidence import LABELS, cells_of, clip_spec, make, mean_pool
from jaxattr_models.evidence import Unit


class EvidenceFactored(nnx.Module):
    """The network: clip `[..., 16, 56, 56, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. Batch norm
    uses its running statistics until `.train()` is called. Taps: "block1" to "block4",
    of shape `[..., T', H', W', C']`.

    Attributes:
      name: by which its weights are found.
      spec: what the network wants its clip to be.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "evidence_factored"
        taps = {
            "block1": (16, 14, 14, 24),
            "block2": (16, 7, 7, 48),
            "block3": (8, 7, 7, 64),
            "block4": (4, 7, 7, 64),
        }
        self.spec = clip_spec(num_classes, "block4", taps)
        self.block1 = Unit(48, 16, 24, 2, rngs=rngs)
        self.block2 = Unit(24, 32, 48, 3, rngs=rngs)
        self.block3 = Unit(48, 48, 64, 3, rngs=rngs)
        self.block4 = Unit(64, 48, 64, 3, rngs=rngs)
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
        x = tap(self.block3(mean_pool(x, 2, 1)), leading, "block3")
        x = tap(self.block4(mean_pool(x, 2, 1)), leading, "block4")
        logits = self.head(x.mean((1, 2, 3)))
        return logits.reshape(*leading, logits.shape[-1])


def evidence_factored(
    num_classes: int = len(LABELS),
    weights: str | os.PathLike | None = "families-0",
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> EvidenceFactored:
    """The factored network for evidence clips; with its shipped weights, no download.

    Args:
      num_classes: K, the number of logits.
      weights: "families-0" or "families-1" (two trainings, shipped with this package),
        a `.safetensors` file, or None for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network in evaluation mode: 85,496 parameters and statistics at 24 classes.

    Raises:
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    return make(EvidenceFactored, num_classes, weights, seed, dtype)
