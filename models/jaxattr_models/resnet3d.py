"""R(2+1)D-18, R3D-18 and MC3-18: one residual network, three ways to see motion.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
CVPR 2018; the configurations are those of torchvision's video resnets.
"""

import dataclasses
import functools
import importlib.resources
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from jaxattr_models._clip import as_batch, tap
from jaxattr_models._initialise import build
from jaxattr_models.spec import ClipSpec

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = 2  # Residual blocks in each of the four layers.


@dataclasses.dataclass(frozen=True)
class ResNet3DConfig:
    """What tells the three networks apart.

    Attributes:
      name: of the network, as in torchvision.
      factorised: whether a 3x3x3 convolution is a 1x3x3 and then a 3x1x1 one.
      temporal: for each of the four layers, whether its kernels span time.
    """

    name: str
    factorised: bool
    temporal: tuple[bool, bool, bool, bool]


_R2PLUS1D_18 = ResNet3DConfig("r2plus1d_18", True, (True, True, True, True))
_R3D_18 = ResNet3DConfig("r3d_18", False, (True, True, True, True))
_MC3_18 = ResNet3DConfig("mc3_18", False, (True, False, False, False))


def _conv(features_in, features_out, kernel, strides, rngs):
    """A convolution without bias, padded alike on both sides as torch pads."""
    padding = tuple((size // 2, size // 2) for size in kernel)
    return nnx.Conv(
        features_in,
        features_out,
        kernel,
        strides,
        padding=padding,  # "SAME" has the same shapes but other values at stride 2.
        use_bias=False,
        rngs=rngs,
    )


def _norm(features, rngs):
    return nnx.BatchNorm(
        features, use_running_average=True, momentum=0.9, epsilon=1e-5, rngs=rngs
    )


class FactorisedConv(nnx.Module):
    """A convolution over space, batch norm, ReLU, and one over time."""

    def __init__(
        self, features_in, middle, features_out, space, time, strides, *, rngs
    ):
        at, ahw = strides[0], strides[1:]
        self.space = _conv(features_in, middle, (1, *space), (1, *ahw), rngs)
        self.norm = _norm(middle, rngs)
        self.time = _conv(middle, features_out, (time, 1, 1), (at, 1, 1), rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, T, H, W, C]` to `[B, T', H', W', C']`."""
        return self.time(nnx.relu(self.norm(self.space(x))))


class Unit(nnx.Module):
    """A convolution of either kind and its batch norm."""

    def __init__(self, conv: nnx.Module, features: int, *, rngs: nnx.Rngs):
        self.conv = conv
        self.norm = _norm(features, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, T, H, W, C]` to `[B, T', H', W', C']`."""
        return self.norm(self.conv(x))


class Block(nnx.Module):
    """The residual block of two units."""

    def __init__(
        self, features_in, features_out, stride, temporal, factorised, *, rngs
    ):
        strides = (stride if temporal else 1, stride, stride)
        # One width for both convolutions, from the block's own in and out: computing
        # it afresh for the second would be natural, but is not the published network.
        middle = 27 * features_in * features_out // (9 * features_in + 3 * features_out)

        def unit(features, strides):
            if factorised:
                conv = FactorisedConv(
                    features, middle, features_out, (3, 3), 3, strides, rngs=rngs
                )
            else:
                kernel = (3 if temporal else 1, 3, 3)
                conv = _conv(features, features_out, kernel, strides, rngs)
            return Unit(conv, features_out, rngs=rngs)

        self.conv1 = unit(features_in, strides)
        self.conv2 = unit(features_out, (1, 1, 1))
        if stride == 1:
            self.downsample = nnx.data(None)
        else:
            shortcut = _conv(features_in, features_out, (1, 1, 1), strides, rngs)
            self.downsample = Unit(shortcut, features_out, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, T, H, W, C]` to `[B, T', H', W', C']`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return nnx.relu(self.conv2(nnx.relu(self.conv1(x))) + shortcut)


class ResNet3D(nnx.Module):
    """A video network: clip `[..., T, H, W, 3]` to logits `[..., K]`.

    It computes in the dtype of its parameters, to which the clip is cast; batch norm
    uses its running statistics. Taps: "stem", "layer1" to "layer4", each of shape
    `[..., T', H', W', C']`.

    Attributes:
      name: of the architecture, by which its published weights are found.
      spec: what the network wants its clip to be.
    """

    def __init__(self, config: ResNet3DConfig, num_classes: int, *, rngs: nnx.Rngs):
        self.name = config.name
        self.spec = _spec(config, num_classes)
        self.stem = _stem(config, rngs)
        features = _WIDTHS[0]
        for index, (width, temporal) in enumerate(zip(_WIDTHS, config.temporal)):
            blocks = []
            for position in range(_BLOCKS):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(
                    Block(
                        features, width, stride, temporal, config.factorised, rngs=rngs
                    )
                )
                features = width
            setattr(self, f"layer{index + 1}", nnx.List(blocks))
        self.fc = nnx.Linear(features, num_classes, rngs=rngs)

    def __call__(self, clip: jax.Array) -> jax.Array:
        """Returns logits `[..., K]`, without a softmax, of a clip `[..., T, H, W, 3]`.

        Raises:
          TypeError: if the clip is not of a floating dtype.
          ValueError: if it is not of shape `[..., T, H, W, 3]`.
        """
        x, leading = as_batch(clip, self.fc.kernel.dtype, channels=3)

        x = tap(nnx.relu(self.stem(x)), leading, "stem")
        for name in ("layer1", "layer2", "layer3", "layer4"):
            for block in getattr(self, name):
                x = block(x)
            x = tap(x, leading, name)
        logits = self.fc(x.mean((1, 2, 3)))
        return logits.reshape(*leading, logits.shape[-1])

    def source_name(self, path: str) -> tuple[str, tuple[int, ...] | None]:
        """Says where torchvision's checkpoint holds a parameter.

        Args:
          path: of the parameter here, joined by "/".

        Returns:
          The name there, and the permutation of axes that brings it here (None: as it
          is).
        """
        *modules, leaf = path.split("/")
        axes = None
        if leaf == "kernel":
            axes = (1, 0) if modules == ["fc"] else (2, 3, 4, 1, 0)
        indices = _INDICES
        if modules[0] == "stem" and isinstance(self.stem.conv, FactorisedConv):
            # torchvision unrolls this one: conv, norm, ReLU, conv, norm in a row.
            indices = _UNROLLED if len(modules) == 2 else _INDICES | {"conv": None}
        names = [indices.get(module, module) for module in modules]
        return ".".join([*filter(None, names), _TORCH_LEAVES[leaf]]), axes


_TORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


# Our named sub-modules, numbered as torch's sequences number theirs.
_INDICES = {"conv": "0", "norm": "1", "space": "0", "time": "3"}
_UNROLLED = {"norm": "4"}


def _stem(config: ResNet3DConfig, rngs: nnx.Rngs) -> Unit:
    strides, features = (1, 2, 2), _WIDTHS[0]
    if config.factorised:
        conv = FactorisedConv(3, 45, features, (7, 7), 3, strides, rngs=rngs)
    else:
        conv = _conv(3, features, (3, 7, 7), strides, rngs)
    return Unit(conv, features, rngs=rngs)


@functools.cache
def _spec(config: ResNet3DConfig, num_classes: int) -> ClipSpec:
    taps, frames, pixels = [("stem", (16, 56, 56, 64))], 16, 56
    for index, (width, temporal) in enumerate(zip(_WIDTHS, config.temporal)):
        if index:
            frames, pixels = frames // (2 if temporal else 1), pixels // 2
        taps.append((f"layer{index + 1}", (frames, pixels, pixels, width)))
    return ClipSpec(
        num_frames=16,
        size=(112, 112),
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
        resize=(128, 171),
        antialias=False,
        fps=15.0,
        sampling="centre",
        labels=kinetics400_labels() if num_classes == 400 else (),
        tap="layer4",
        taps=tuple(taps),
    )


@functools.cache
def kinetics400_labels() -> tuple[str, ...]:
    """The 400 class names of Kinetics-400, in the order of the logits."""
    folder = importlib.resources.files("jaxattr_models")
    return tuple((folder / "kinetics400.txt").read_text("utf-8").splitlines())


def _network(config: ResNet3DConfig, num_classes, weights, seed, dtype) -> ResNet3D:
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}.")
    make: Callable[[], ResNet3D] = lambda: ResNet3D(  # noqa: E731
        config, num_classes, rngs=nnx.Rngs(0)
    )
    return build(make, weights, seed, dtype)


def r2plus1d_18(
    num_classes: int = 400,
    weights: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> ResNet3D:
    """R(2+1)D-18: every 3x3x3 convolution is one over space, then one over time.

    Args:
      num_classes: K, the number of logits; its labels are known for 400 only.
      weights: "kinetics400" (downloaded once, top-1 67.5 %), a `.pth` or
        `.safetensors` file, or None for random parameters.
      seed: of the random parameters.
      dtype: of the parameters, and thereby of the computation.

    Returns:
      The network in evaluation mode: 31,505,325 parameters at 400 classes.

    Raises:
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    return _network(_R2PLUS1D_18, num_classes, weights, seed, dtype)


def r3d_18(
    num_classes: int = 400,
    weights: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> ResNet3D:
    """R3D-18: 3x3x3 convolutions throughout.

    Arguments, return value and errors as for `r2plus1d_18`; 33,371,472 parameters,
    top-1 63.2 % on Kinetics-400.
    """
    return _network(_R3D_18, num_classes, weights, seed, dtype)


def mc3_18(
    num_classes: int = 400,
    weights: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> ResNet3D:
    """MC3-18: 3x3x3 convolutions in the first layer, 1x3x3 in the others.

    Arguments, return value and errors as for `r2plus1d_18`; 11,695,440 parameters,
    top-1 64.0 % on Kinetics-400. Its "layer4" keeps all frames of the clip.
    """
    return _network(_MC3_18, num_classes, weights, seed, dtype)
