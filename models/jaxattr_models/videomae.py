"""VideoMAE-B: a plain transformer over tubelets, pre-trained on masked video.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for
Self-Supervised Video Pre-Training", NeurIPS 2022. This is the encoder with its head,
as fine-tuned; the arithmetic and the names in files are those of Hugging Face's
transformers.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxattr_models import _vit
from jaxattr_models._initialise import build
from jaxattr_models._torch_names import BLOCK, torch_name
from jaxattr_models.resnet3d import kinetics400_labels
from jaxattr_models.spec import ClipSpec


class VideoMAE(nnx.Module):
    """The network: clip `[..., T, H, W, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast. There is no
    class token: the head reads the mean of all tokens. Taps of shape
    `[..., T', H', W', D]`: "tokens", the output of every block ("layer1" and so on),
    and the normalised input of the last one, for instance "layer12.layernorm_before".

    Attributes:
      name: of the architecture.
      spec: what the network wants its clip to be.
    """

    def __init__(self, sizes: _vit.Sizes, num_classes: int, *, rngs: nnx.Rngs):
        self.name = "videomae"
        self.spec = _spec(sizes, num_classes)
        self.embed = _vit.Tubelets(sizes.tubelet, sizes.width, rngs=rngs)
        self.layers = tuple(_vit.layers(sizes.depth))
        for name in self.layers:
            block = _vit.Block(
                sizes, epsilon=1e-12, key_bias=False, tanh_gelu=False, rngs=rngs
            )
            setattr(self, name, block)
        self.norm = _vit.LayerNorm(sizes.width, 1e-5)
        self.classifier = nnx.Linear(sizes.width, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of `[..., T, H, W, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if its shape is not the one of `spec`.
        """
        x, leading = _vit.clip_of(clip, self.spec, self.classifier.kernel.dtype)
        x = self.embed(x)
        x = x + jnp.asarray(_positions(*x.shape[1:]), x.dtype)
        blocks = (getattr(self, name) for name in self.layers)
        x = _vit.encode(blocks, x, self.spec, leading)
        logits = self.classifier(self.norm(x.mean(1)))
        return logits.reshape(*leading, logits.shape[-1])

    def source_name(self, path: str) -> tuple[str, tuple[int, ...] | None]:
        """Says where a published file holds a parameter.

        Args:
          path: of the parameter here, joined by "/".

        Returns:
          The name there, and the permutation of axes that brings it here (None: as it
          is).
        """
        name, axes = self.live_name(path)
        for part in ("query", "value"):
            name = name.replace(f"{part}.bias", f"{part[0]}_bias")
        return name, axes

    def live_name(self, path: str) -> tuple[str, tuple[int, ...] | None]:
        """Likewise for the state dict of the modules of transformers 5."""
        return torch_name(path, _LIVE, "videomae.encoder.layer")


_LIVE = BLOCK | {
    "embed": "videomae.embeddings.patch_embeddings.projection",
    "norm": "fc_norm",
}


@functools.cache
def _positions(count: int, width: int) -> np.ndarray:
    """Sinusoids `[1, N, D]` over the number of the token; in no checkpoint.

    In float32 whatever the dtype of the network, as the original rounds them.
    """
    period = np.power(10000, 2 * (np.arange(width) // 2) / width)
    angles = np.arange(count)[:, None] / period[None]
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    table = angles.astype(np.float32)[None]
    table.flags.writeable = False
    return table


def _spec(sizes: _vit.Sizes, num_classes: int) -> ClipSpec:
    return ClipSpec(
        num_frames=sizes.num_frames,
        size=sizes.size,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize=224 if sizes.size == (224, 224) else None,
        fps=7.5,  # Every fourth frame, of 30 in a second.
        sampling="centre",
        labels=kinetics400_labels() if num_classes == 400 else (),
        tap=_vit.last_norm(sizes.depth),
        taps=sizes.taps,
        tokens=sizes.grid,
    )


def videomae(
    num_classes: int = 400,
    weights: str | os.PathLike | None = None,
    *,
    num_frames: int = 16,
    size: tuple[int, int] = (224, 224),
    tubelet: tuple[int, int, int] = (2, 16, 16),
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int = 3072,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> VideoMAE:
    """VideoMAE-B, fine-tuned: joint attention over space and time, mean of all tokens.

    Published weights are not downloaded: get `model.safetensors` (or
    `pytorch_model.bin`) of MCG-NJU/videomae-base-finetuned-kinetics from Hugging Face
    and give its path; they are CC BY-NC 4.0. Files of transformers' `save_pretrained`
    and of `torch.save(model.state_dict())` will do too.

    Args:
      num_classes: K, the number of logits; its labels are known for 400 only.
      weights: a `.safetensors`, `.bin` or `.pth` file, or None for random parameters.
      num_frames: T; positions are no part of a file, so that any number loads.
      size: (H, W) in pixels, likewise.
      tubelet: frames and pixels of one token, (t, h, w); as all that follows, it must
        be the file's if there is one.
      width: D, features of a token.
      depth: number of blocks.
      heads: of every attention; a file does not tell them.
      hidden: features inside of every perceptron.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network: 86,534,800 parameters as published.

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
    make = lambda: VideoMAE(sizes, num_classes, rngs=nnx.Rngs(0))  # noqa: E731
    return build(make, weights, seed, dtype, _vit.draw)
