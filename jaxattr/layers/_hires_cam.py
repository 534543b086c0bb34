"""HiRes-CAM: gradient times activation, cell by cell."""

from collections.abc import Callable

from jaxattr._score import Network, Score
from jaxattr.layers._layer_map import (
    LayerAttribution,
    layer_map,
)


def hires_cam(
    f: Network,
    layer: str | None = None,
    *,
    score: Score = "logit",
    resize: bool = True,
    relu: bool = False,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score to the cells of a layer, by gradient times activation.

    Cell :math:`u` gets :math:`\sum_k g_k(u) A_k(u)`, signed: if what follows the layer
    is piecewise linear and without biases, the cells sum to the score.

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
      Draelos and Carin, "Use HiResCAM instead of Grad-CAM", 2020,
      https://arxiv.org/abs/2011.08891.
      Verified.
    """
    return layer_map(_weigh, f, layer, score=score, resize=resize, relu=relu)


def _weigh(layer):
    return (layer.gradient * layer.activation).sum(-1)
