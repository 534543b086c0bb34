"""Complexity: over how many voxels a heat map spreads, as an entropy."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr.metrics._ground_truth import below_one
from jaxattr.metrics._inputs import check_finite


def complexity(heatmap: Any) -> jax.Array:
    r"""Entropy of a heat map read as a distribution over voxels.

    :math:`-\sum_i p_i \log p_i` with :math:`p_i = |h_i| / \sum_j |h_j|`. It needs no
    network, and says nothing of whether the map is right.

    Direction: lower is simpler. Range: 0 (one voxel) to log(T H W) nats (constant).
    Chance: a map of independent |N(0, 1)| is about 0.28 nats below the top. A constant
    or all-zero map, which singles out nothing, is at the top.

    Args:
      heatmap: [T, H, W], signs ignored.

    Returns:
      [], float32 or wider; NaN where a traced map is not finite.

    Raises:
      ValueError: a shape that is not [T, H, W], a concrete map that is not finite.
      TypeError: a map that is not a floating-point array.

    References:
      Bhatt, Weller and Moura, "Evaluating and Aggregating Feature-based Model
      Explanations", IJCAI 2020, https://arxiv.org/abs/2005.00631, definition 3.
    """
    if getattr(heatmap, "ndim", 3) != 3:
        raise ValueError(
            f"`heatmap` must be [T, H, W], got shape {tuple(heatmap.shape)}; reduce "
            "channels with `jaxattr.to_heatmap`; for many maps use jax.vmap."
        )
    heatmap = check_finite("heatmap", heatmap, getattr(heatmap, "shape", ()))
    return _entropy(heatmap)


@jax.jit
def _entropy(heatmap):
    # Over the maximum first: the sum can then neither overflow nor vanish. An all-zero
    # map is read as the constant it is.
    heat = below_one(jnp.abs(widen(heatmap)))
    heat = jnp.where(heat.max() == 0, 1, heat)
    return jax.scipy.special.entr(heat / heat.sum()).sum()
