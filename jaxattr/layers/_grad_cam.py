"""Grad-CAM: channels of a layer weighed by their mean gradient."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxattr._score import Network, Score
from jaxattr._tap import look
from jaxattr.layers._layer_map import (
    LayerAttribution,
    Pool,
    check_pool,
    layer_map,
    pooled,
)


def grad_cam(
    f: Network,
    layer: str | None = None,
    *,
    pool: Pool = "global",
    score: Score = "logit",
    resize: bool = True,
    relu: bool = True,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score to the cells of a layer, channels by mean gradient.

    With activations :math:`A_k` and :math:`g = \partial s / \partial A`, the map is
    :math:`\max(\sum_k \bar g_k A_k, 0)`.

    A layer of a network with temporal stride 8 has two cells in time for 16 frames:
    its map cannot say which frame mattered. Look at `cells.shape`.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of a layer of [T', H', W', C'], as `jaxattr.list_taps` shows them;
        None takes `f.spec.tap`. In a recurrent network one of its frame-wise part.
      pool: "global" takes the mean of the gradient over time and space; "frame" over
        the space of each step by itself, as the video study does.
      score: what to explain; see `jaxattr.Score`. The video study uses "prob".
      resize: show the map on the clip, linearly between the centres of the cells.
      relu: keep what speaks for the target only.

    Returns:
      `explain(clip, target) -> LayerAttribution`.

    Raises:
      ValueError: an unknown pool, a missing or unknown layer (the nearest names are
        shown), one without extent in space and time.

    References:
      Selvaraju et al., "Grad-CAM", ICCV 2017, https://arxiv.org/abs/1610.02391; per
      frame: Li et al., TCSVT 2021, https://arxiv.org/abs/2109.00222.
      Verified.
    """
    check_pool(pool)
    return layer_map(_weigh, f, layer, score=score, resize=resize, relu=relu, pool=pool)


def grad_cam_of(f, clip, target, *, score, layer, pool):
    """The map [T', H', W'] of a traced network, for methods made of it."""
    seen = look(f, clip, target, score, layer)
    return jnp.maximum(_weigh(seen, pool), 0)


def _weigh(layer, pool):
    weights = layer.gradient.mean(pooled(pool), keepdims=True)
    return (weights * layer.activation).sum(-1)
