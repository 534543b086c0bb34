"""Every network of this package, by name."""

import dataclasses
import difflib
import importlib
import os
import pathlib
from collections.abc import Callable

from flax import nnx

from jaxattr_models._registry import CATALOGUE, Weights
from jaxattr_models.weights import count_classes


@dataclasses.dataclass(frozen=True)
class Model:
    """One row of `models()`.

    Attributes:
      name: by which `build` knows the network.
      builder: "module:function", imported when it is used.
      summary: one line for people.
      clip: T, H, W that it was trained on.
      num_classes: by default.
      num_parameters: with as many classes; statistics of batch norm not counted.
      head: the parameter whose length is the number of classes.
      test_only: whether nothing may be tuned on it, as on some families of evidence.
    """

    name: str
    builder: str
    summary: str
    clip: tuple[int, int, int]
    num_classes: int
    num_parameters: int
    head: str
    test_only: bool = False

    @property
    def weights(self) -> dict[str, Weights]:
        """Published weights by name, with their licence and accuracy."""
        return {name: entry for (m, name), entry in CATALOGUE.items() if m == self.name}


_TABLE = (
    Model(
        "r2plus1d_18",
        "jaxattr_models.resnet3d:r2plus1d_18",
        "R(2+1)D-18: residual, convolutions over space, then over time",
        (16, 112, 112),
        400,
        31_505_325,
        "fc/bias",
    ),
    Model(
        "r3d_18",
        "jaxattr_models.resnet3d:r3d_18",
        "R3D-18: residual, 3x3x3 convolutions",
        (16, 112, 112),
        400,
        33_371_472,
        "fc/bias",
    ),
    Model(
        "mc3_18",
        "jaxattr_models.resnet3d:mc3_18",
        "MC3-18: residual, 3x3x3 convolutions in the first layer, then 1x3x3",
        (16, 112, 112),
        400,
        11_695_440,
        "fc/bias",
    ),
    Model(
        "lrcn",
        "jaxattr_models.lrcn:lrcn",
        "LRCN: a CNN on every frame, an LSTM over time",
        (20, 64, 64),
        4,
        73_060,
        "dense/bias",
    ),
    Model(
        "vivit",
        "jaxattr_models.vivit:vivit",
        "ViViT-B/16x2: transformer, joint space-time attention, class token",
        (32, 224, 224),
        400,
        88_954_000,
        "classifier/bias",
    ),
    Model(
        "videomae",
        "jaxattr_models.videomae:videomae",
        "VideoMAE-B: transformer, joint space-time attention, mean of all tokens",
        (16, 224, 224),
        400,
        86_534_800,
        "classifier/bias",
    ),
    Model(
        "evidence",
        "jaxattr_models.evidence:evidence",
        "a small network whose clips have a known cause",
        (16, 56, 56),
        8,
        46_680,
        "head/bias",
    ),
    Model(
        "evidence_factored",
        "jaxattr_models.evidence_factored:evidence_factored",
        "small, for all families of evidence: convolutions over space, then time",
        (16, 56, 56),
        24,
        84_808,
        "head/bias",
    ),
    Model(
        "evidence_3d",
        "jaxattr_models.evidence_3d:evidence_3d",
        "small, for all families of evidence: full 3-D convolutions",
        (16, 56, 56),
        24,
        109_784,
        "head/bias",
    ),
    Model(
        "evidence_lstm",
        "jaxattr_models.evidence_lstm:evidence_lstm",
        "small, for all families of evidence: a CNN on every frame, an LSTM over time",
        (16, 56, 56),
        24,
        101_096,
        "head/bias",
        test_only=True,  # The one kind without a convolution or attention over time.
    ),
    Model(
        "evidence_transformer",
        "jaxattr_models.evidence_transformer:evidence_transformer",
        "small, for all families of evidence: divided space-time attention",
        (16, 56, 56),
        24,
        123_864,
        "head/bias",
    ),
)


def models() -> dict[str, Model]:
    """Returns every network of this package, by name."""
    return {model.name: model for model in _TABLE}


def build(
    name: str,
    weights: str | os.PathLike | None = None,
    num_classes: int | None = None,
    **settings,
) -> nnx.Module:
    """Builds a network by name.

    Args:
      name: one of `models()`.
      weights: name of published weights, a file, or None for random parameters.
      num_classes: number of logits; None takes the file's, else the default.
      **settings: `seed`, `dtype` and what else the network's own builder takes.

    Raises:
      ValueError: if there is no such network.
      CheckpointError: if the weights are unknown, broken or of another network.
      FileNotFoundError: if a file of weights does not exist.
    """
    if name not in models():
        near = difflib.get_close_matches(str(name), list(models()), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"`name` must be one of {list(models())}, got {name!r}.{hint}")
    model = models()[name]
    if num_classes is None:
        num_classes = model.num_classes
        if weights is not None and pathlib.Path(weights).is_file():
            num_classes = count_classes(weights, model.head) or num_classes
    module, function = model.builder.split(":")
    builder: Callable[..., nnx.Module] = getattr(
        importlib.import_module(module), function
    )
    return builder(num_classes, weights, **settings)
