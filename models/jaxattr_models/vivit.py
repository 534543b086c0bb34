"""ViViT-B/16x2: a transformer whose tokens attend to all others in space and time.

Arnab et al., "ViViT: A Video Vision Transformer", ICCV 2021, model 1; the arithmetic
and the names in files are those of Hugging Face's transformers.
"""

import os

import jax
import jax.numpy as jnp
from flax import nnx

from jaxattr_models import _vit
from jaxattr_models._initialise import build
from jaxattr_models._torch_names import BLOCK, torch_name
from jaxattr_models.resnet3d import kinetics400_labels
from jaxattr_models.spec import ClipSpec

_EPSILON = 1e-6


class ViViT(nnx.Module):
    """The network: clip `[..., T, H, W, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. Taps, without
    the class token and of shape `[..., T', H', W', D]`: "tokens", the output of every
    block ("layer1" and so on), and the normalised input of the last one, for instance
    "layer12.layernorm_before". The head reads the class token alone: no gradient
    reaches the output of the last block.

    Attributes:
      name: of the architecture.
      spec: what the network wants its clip to be.
    """

    def __init__(self, sizes: _vit.Sizes, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "vivit"
        self.spec = _spec(sizes, num_classes)
        self.embed = _vit.Tubelets(sizes.tubelet, sizes.width, rngs=rngs)
        self.class_token = nnx.Param(jnp.zeros((1, 1, sizes.width)))
        times, rows, columns = sizes.grid
        count = 1 + times * rows * columns
        self.positions = nnx.Param(jnp.zeros((1, count, sizes.width)))
        self.layers = tuple(_vit.layers(sizes.depth))
        for name in self.layers:
            block = _vit.Block(
                sizes, epsilon=_EPSILON, key_bias=True, tanh_gelu=True, rngs=rngs
            )
            setattr(self, name, block)
        self.norm = _vit.LayerNorm(sizes.width, _EPSILON)
        self.classifier = nnx.Linear(sizes.width, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of `[..., T, H, W, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if its shape is not the one of `spec`.
        """
        x, leading = _vit.clip_of(clip, self.spec, self.classifier.kernel.dtype)
        x = self.embed(x)
        first = self.class_token[...]
        first = jnp.broadcast_to(first, (x.shape[0], *first.shape[1:]))
        x = jnp.concatenate([first, x], 1) + self.positions[...]
        blocks = (getattr(self, name) for name in self.layers)
        x = _vit.encode(blocks, x, self.spec, leading)
        logits = self.classifier(self.norm(x[:, 0]))
        return logits.reshape(*leading, logits.shape[-1])

    def source_name(self, path: str) -> tuple[str, tuple[int, ...] | None]:
        """Says where a published file holds a parameter.

        Args:
          path: of the parameter here, joined by "/".

        Returns:
          The name there, and the permutation of axes that brings it here (None: as it
          is).
        """
        return torch_name(path, _FILE, "vivit.encoder.layer")

    def live_name(self, path: str) -> tuple[str, tuple[int, ...] | None]:
        """Likewise for the state dict of the modules of transformers 5."""
        return torch_name(path, _LIVE, "vivit.layers")


_OUTSIDE = {
    "embed": "vivit.embeddings.patch_embeddings.projection",
    "class_token": "vivit.embeddings.cls_token",
    "positions": "vivit.embeddings.position_embeddings",
    "norm": "vivit.layernorm",
}
_FILE = _OUTSIDE | BLOCK
_LIVE = _OUTSIDE | {
    "attention/query": "attention.q_proj",
    "attention/key": "attention.k_proj",
    "attention/value": "attention.v_proj",
    "attention/out": "attention.o_proj",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
}


def _spec(sizes: _vit.Sizes, num_classes: int) -> ClipSpec:
    return ClipSpec(
        num_frames=sizes.num_frames,
        size=sizes.size,
        mean=(0.5, 0.5, 0.5),  # To -1..1, as it was trained.
        std=(0.5, 0.5, 0.5),
        resize=256 if sizes.size == (224, 224) else None,
        fps=12.5,  # Every second frame of 25 in a second.
        sampling="centre",
        labels=kinetics400_labels() if num_classes == 400 else (),
        tap=_vit.last_norm(sizes.depth),
        taps=sizes.taps,
        tokens=sizes.grid,
        class_token=True,
    )


def vivit(
    num_classes: int = 400,
    weights: str | os.PathLike | None = None,
    *,
    num_frames: int = 32,
    size: tuple[int, int] = (224, 224),
    tubelet: tuple[int, int, int] = (2, 16, 16),
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int = 3072,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> ViViT:
    """ViViT-B/16x2 with joint attention over space and time, and a class token.

    Published weights are not downloaded: get `model.safetensors` of
    google/vivit-b-16x2-kinetics400 from Hugging Face and give its path. Files of
    transformers' `save_pretrained` and of `torch.save(model.state_dict())` will do too.

    Args:
      num_classes: K, the number of logits; its labels are known for 400 only.
      weights: a `.safetensors`, `.bin` or `.pth` file, or None for random parameters.
      num_frames: T; as all sizes, it must be the file's if there is one.
      size: (H, W) in pixels.
      tubelet: frames and pixels of one token, (t, h, w).
      width: D, features of a token.
      depth: number of blocks.
      heads: of every attention.
      hidden: features inside of every perceptron.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network: 88,954,000 parameters as published.

    Raises:
      ValueError: if sizes do not fit together.
      CheckpointError: if the weights are broken or of another network.
      FileNotFoundError: if the file does not exist.
    """
    sizes = _vit.Sizes(
        num_frames, tuple(size), tuple(tubelet), width, depth, heads, hidden
    )
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}.")
    make = lambda: ViViT(sizes, num_classes, rngs=nnx.Rngs(0))  # noqa: E731
    return build(make, weights, seed, dtype, _vit.draw)
