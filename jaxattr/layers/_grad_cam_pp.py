"""Grad-CAM++: positive gradients, weighed by second and third derivatives."""

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


def grad_cam_pp(
    f: Network,
    layer: str | None = None,
    *,
    pool: Pool = "global",
    score: Score = "logit",
    resize: bool = True,
    relu: bool = True,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score to the cells of a layer, by Grad-CAM++.

    Channel :math:`k` weighs :math:`w_k = \sum_u \alpha_k(u) \max(g_k(u), 0)` with
    :math:`\alpha_k(u) = g^2 / (2 g^2 + g^3 \sum_v A_k(v))`, 0 where that is 0 / 0. It
    is exact for the exponential of the score, whose higher derivatives are powers of
    :math:`g` times a factor that the normalisation of the map cancels.

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
      Chattopadhay et al., "Grad-CAM++", WACV 2018, https://arxiv.org/abs/1710.11063.
      Verified.
    """
    check_pool(pool)
    return layer_map(_weigh, f, layer, score=score, resize=resize, relu=relu, pool=pool)


def _weigh(layer, pool):
    a, g, axes = layer.activation, layer.gradient, pooled(pool)
    below = 2 * g**2 + a.sum(axes, keepdims=True) * g**3
    alpha = jnp.where(below == 0, 0, g**2 / jnp.where(below == 0, 1, below))
    weights = (alpha * jnp.maximum(g, 0)).sum(axes, keepdims=True)
    return (weights * a).sum(-1)
