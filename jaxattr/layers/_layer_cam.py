"""Layer-CAM: positive gradients times activation, cell by cell."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxattr._score import Network, Score
from jaxattr._tap import look
from jaxattr.layers._layer_map import (
    LayerAttribution,
    layer_map,
)


def layer_cam(
    f: Network,
    layer: str | None = None,
    *,
    score: Score = "logit",
    resize: bool = True,
    relu: bool = True,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score to the cells of a layer, by positive gradients.

    Cell :math:`u` gets :math:`\max(\sum_k \max(g_k(u), 0) A_k(u), 0)`, which keeps the
    detail of shallow layers where Grad-CAM's one weight for a channel loses it.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of a layer of [T', H', W', C']; None takes `f.spec.tap`.
      score: what to explain; see `jaxattr.Score`.
      resize: show the map on the clip, linearly between the centres of the cells.
      relu: keep what speaks for the target only.

    Returns:
      `explain(clip, target) -> LayerAttribution`.

    Raises:
      ValueError: a missing or unknown layer, one without extent in space
        and time.

    References:
      Jiang et al., "LayerCAM", IEEE TIP 2021,
      https://doi.org/10.1109/TIP.2021.3089943.
      Verified.
    """
    return layer_map(_weigh, f, layer, score=score, resize=resize, relu=relu)


def layer_cam_of(f, clip, target, *, score, layer):
    """The map [T', H', W'] of a traced network, for methods made of it."""
    return jnp.maximum(_weigh(look(f, clip, target, score, layer)), 0)


def _weigh(layer):
    return (jnp.maximum(layer.gradient, 0) * layer.activation).sum(-1)
