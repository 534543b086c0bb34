"""AUPRC: how well a heat map ranks the evidence before everything else."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.metrics._ground_truth import poison, read_heatmap, read_mask


class AveragePrecision(NamedTuple):
    """Area under the precision-recall curve of a heat map.

    Attributes:
      auprc: [] average precision, 0 to 1; higher is better.
      chance: [] share of the voxels that are evidence.
    """

    auprc: jax.Array
    chance: jax.Array


def auprc(heatmap: jax.Array, truth: jax.Array) -> AveragePrecision:
    r"""Measures the average precision of the voxels, ranked by their heat.

    :math:`\sum_n (R_n - R_{n-1}) P_n` over the thresholds, without interpolation.
    Voxels of equal heat enter together, so that their order means nothing, and a
    constant map gets exactly what chance gets. Rank metrics ask for the whole extent of
    the evidence: a map that is right at one point scores low here, and hits in
    `pointing_game`.

    Args:
      heatmap: [T, H, W], larger where there is more evidence; any sign and scale.
      truth: evidence, [T, H, W] bool, or boxes [T, 4] as in `boxes_to_mask`.

    Returns:
      `AveragePrecision`; higher is better, 0 to 1, chance is the share of evidence.
      NaN where traced input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, no evidence, a
        box outside the frame.
      TypeError: a heat map that is not floating point.

    References:
      `sklearn.metrics.average_precision_score` computes the same of two vectors.
    """
    heat, finite = read_heatmap(heatmap)
    mask, some = read_mask(truth, heat.shape)
    return _auprc(heat, mask, finite & some)


@jax.jit
def _auprc(heat, mask, valid):
    pairs = (-heat.ravel(), mask.ravel().astype(jnp.int32))
    ranked, evidence = jax.lax.sort(pairs, num_keys=1)
    found = jnp.cumsum(evidence)
    last = jnp.append(ranked[1:] != ranked[:-1], True)  # Of its group of equals.
    so_far = jax.lax.cummax(jnp.where(last, found, 0))
    gain = found - jnp.concatenate([jnp.zeros_like(found[:1]), so_far[:-1]])
    taken = jnp.arange(1, found.size + 1, dtype=heat.dtype)
    precision = found.astype(heat.dtype) / taken
    area = jnp.where(last, precision * gain.astype(heat.dtype), 0).sum()
    result = AveragePrecision(area / found[-1].astype(heat.dtype), precision[-1])
    return poison(result, valid)
