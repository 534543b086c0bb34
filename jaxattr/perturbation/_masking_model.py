"""Masking model: a network that was taught to mask, in one forward pass per clip."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import wide
from jaxattr._explainer import explainer
from jaxattr._resize import to_clip
from jaxattr._score import Network, poison_of
from jaxattr._tap import activations
from jaxattr.perturbation._masking_network import Params, Scale, forward, scales
from jaxattr.perturbation._presets import check_weights

_PARTS = {"scale", "selector", "blocks", "head"}


class PredictedMask(NamedTuple):
    """A mask as a trained model predicts it; whether it holds was not looked at.

    Attributes:
      values: [T, H, W] in 0..1, 1 where the evidence is.
      cells: [T', H', W'] the same on the cells of the finest layer, as predicted.
      exists: [] probability, by the model, that the class is in the clip; where it is
        low the mask should be empty.
    """

    values: jax.Array
    cells: jax.Array
    exists: jax.Array


def masking_model(
    f: Network, *, params: Params, confidence: float = 0.0
) -> Callable[..., PredictedMask]:
    r"""Masks the evidence in one forward pass, by a model trained beforehand.

    A small decoder on the layers of the network :math:`f` itself, trained by
    `jaxattr.train_masking_model` on any set of clips. With :math:`e` the coarsest layer
    and :math:`v_c` what the selector learnt for class :math:`c`, every cell's
    likeness is :math:`a = e \cdot v_c`; :math:`e \, \sigma(a - q)` goes up through the
    finer layers to two channels :math:`s`, and the mask is :math:`|s_0| / (|s_0| +
    |s_1|)`.

    It explains what is typical of the network on the clips of its training, not this
    answer to this clip. A test by random weights has to train it anew: with the
    parameters of another network it is not meaningful.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]: the one it was trained on.
      params: as from `jaxattr.train_masking_model`.
      confidence: :math:`q`; 0 as in training, larger for fewer and surer cells. Where
        the published code is evaluated it is 6.

    Returns:
      `explain(clip, target) -> PredictedMask`.

    Raises:
      ValueError: `params` of another structure, or of a network of other layers or
        classes; a negative `confidence`; from `explain`, a target out of range (a
        traced one gives NaN), a clip that is not one array [T, H, W, C].

    References:
      Dabkowski and Gal, "Real Time Image Saliency for Black Box Classifiers", NeurIPS
      2017, https://arxiv.org/abs/1705.07857. From code. In time our reading. Deviation:
      residual blocks of factored convolutions with additive skips, without batch norm.
    """
    check_weights(confidence=confidence)
    check_params(params)
    return explainer(
        _explain,
        f,
        params,
        np.float64(confidence),
        single=True,
        modules=True,
        score="margin",  # Classes [K], at least two; the score itself has no use.
    )


def _explain(f, clip, target, params, confidence, *, score):
    poison = poison_of(f, clip, target, score)
    dtype = wide(clip.dtype)
    layers = scales(f, params["blocks"])
    check_fit(params, layers, f.output.shape[0])
    values = activations(f, clip, params["blocks"])
    values = {name: value.astype(dtype) for name, value in values.items()}
    params = jax.tree.map(lambda p: p.astype(dtype), params)
    index = jnp.where(jnp.isnan(poison), 0, target)
    masked = forward(params, layers, values, index, confidence.astype(dtype))
    found = PredictedMask(
        values=to_clip(masked.cells, clip.shape[:3], layers[-1].axes),
        cells=masked.cells,
        exists=jax.nn.sigmoid(masked.evidence),
    )
    return jax.tree.map(lambda x: x * poison.astype(x.dtype), found)


def check_params(params: Params) -> None:
    """Raises ValueError where parameters cannot be those of a masking model."""
    if not isinstance(params, dict) or {*params} != _PARTS or not params["blocks"]:
        found = sorted(params) if isinstance(params, dict) else type(params).__name__
        raise ValueError(
            "`params` must be what `jaxattr.train_masking_model` returns as `params`, "
            f"a dict of {sorted(_PARTS)}, got {found}."
        )


def check_fit(params: Params, layers: tuple[Scale, ...], num_classes: int) -> None:
    """Raises ValueError where parameters are those of another network."""
    blocks = params["blocks"]
    pairs = [
        ("selector", params["selector"].shape, (num_classes, layers[0].shape[-1])),
        *(
            (f"blocks[{layer.name!r}]", blocks[layer.name]["skip"].shape[:1], width)
            for layer in layers
            for width in [layer.shape[-1:]]
        ),
    ]
    for name, got, want in pairs:
        if got != want:
            raise ValueError(
                f"`params` are of another network: {name} is for {got}, this network "
                f"has {want} (classes, channels)."
            )
