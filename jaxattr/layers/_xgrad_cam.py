"""XGrad-CAM: channels weighed by their share of gradient times activation."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxattr._score import Network, Score
from jaxattr.layers._layer_map import (
    LayerAttribution,
    Pool,
    check_pool,
    layer_map,
    pooled,
)


def xgrad_cam(
    f: Network,
    layer: str | None = None,
    *,
    pool: Pool = "global",
    score: Score = "logit",
    resize: bool = True,
    relu: bool = True,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score to the cells of a layer, by XGrad-CAM.

    Channel :math:`k` weighs :math:`w_k = \sum_u A_k(u) g_k(u) / \sum_v A_k(v)`, 0 where
    the channel is silent: then, over all channels, the map sums to the sum of gradient
    times activation.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of a layer of [T', H', W', C']; None takes `f.spec.tap`.
      pool: "global" sums over time and space; "frame" over the space of each step.
      score: what to explain; see `jaxattr.Score`.
      resize: show the map on the clip, linearly between the centres of the cells.
      relu: keep what speaks for the target only.

    Returns:
      `explain(clip, target) -> LayerAttribution`.

    Raises:
      ValueError: an unknown pool, a missing or unknown layer, one without extent in
        space and time.

    References:
      Fu et al., "Axiom-based Grad-CAM", BMVC 2020, https://arxiv.org/abs/2008.02312.
      Verified.
    """
    check_pool(pool)
    return layer_map(_weigh, f, layer, score=score, resize=resize, relu=relu, pool=pool)


def _weigh(layer, pool):
    a, axes = layer.activation, pooled(pool)
    total = a.sum(axes, keepdims=True)
    there = total != 0
    share = (a * layer.gradient).sum(axes, keepdims=True) / jnp.where(there, total, 1)
    return (jnp.where(there, share, 0) * a).sum(-1)
