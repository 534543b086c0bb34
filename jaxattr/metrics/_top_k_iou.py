"""Top-k IoU: overlap with the evidence of as many voxels as the evidence has."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.metrics._ground_truth import poison, read_heatmap, read_mask


class TopKIoU(NamedTuple):
    """Overlap of the hottest voxels and the evidence.

    Attributes:
      iou: [] intersection over union, 0 to 1; higher is better.
      chance: [] what a random map gets: share / (2 - share) for evidence that is this
        share of the clip, up to a term that vanishes with the number of voxels.
    """

    iou: jax.Array
    chance: jax.Array


def top_k_iou(heatmap: jax.Array, truth: jax.Array) -> TopKIoU:
    """Thresholds a heat map at the evidence's own volume and measures the overlap.

    With k voxels of evidence, a voxel is predicted if it is at least as hot as the k-th
    hottest. Without ties k voxels are, and `iou = hits / (2 k - hits)`, which orders
    maps as the share `hits / k` does (relevance rank accuracy). Voxels equal to the
    k-th all count, so a constant map predicts the whole clip and gets the share of
    evidence. No threshold has to be tuned; but the volume is given away.

    Args:
      heatmap: [T, H, W], larger where there is more evidence; any sign and scale.
      truth: evidence, [T, H, W] bool, or boxes [T, 4] as in `boxes_to_mask`.

    Returns:
      `TopKIoU`; higher is better, 0 to 1. NaN where traced input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, no evidence, a
        box outside the frame.
      TypeError: a heat map that is not floating point.

    References:
      Relevance rank accuracy: Arras, Osman and Samek, "CLEVR-XAI", Information Fusion
      2022, https://arxiv.org/abs/2003.07258. The overlap in place of the share is our
      choice.
    """
    heat, finite = read_heatmap(heatmap)
    mask, some = read_mask(truth, heat.shape)
    return _top_k_iou(heat, mask, finite & some)


@jax.jit
def _top_k_iou(heat, mask, valid):
    count = mask.sum()
    threshold = jnp.sort(heat.ravel())[heat.size - count]
    hot = heat >= threshold
    both, either = ((x.sum()).astype(heat.dtype) for x in (hot & mask, hot | mask))
    share = count.astype(heat.dtype) / heat.size
    return poison(TopKIoU(both / either, share / (2 - share)), valid)
