"""Reliability: does a metric order the methods alike on every clip?"""

from typing import NamedTuple

import numpy as np

from jaxattr.metrics._rank_correlation import average_ranks


class Reliability(NamedTuple):
    """Agreement between clips about the order of methods.

    Attributes:
      alpha: -1 to 1; higher is better. NaN where fewer than two clips have weight.
      chance: (K + 1) / (3 (K - 1)^2), alpha of clips that order K methods at random:
        above 0, because the weights favour orders in which the random map is low.
      weights: [I] 1 where the random map is the worst of all, 0 where it is the best.
      random_worst: share of the clips on which no method is worse than the random map,
        among those on which methods differ; NaN where none does.
    """

    alpha: float
    chance: float
    weights: np.ndarray
    random_worst: float


def reliability(
    scores: np.ndarray, *, random: int = 0, higher_is_better: bool = True
) -> Reliability:
    r"""Weighs the rank correlation between clips by how badly they rate a random map.

    With :math:`w_i = (K - 1 - r_i) / (K - 1)`, where :math:`r_i` counts the methods
    that clip :math:`i` finds worse than the random map, and Spearman's correlation
    :math:`\rho_{ij}` of the K scores of two clips,

    .. math:: \alpha = \sum_{i<j} w_i w_j \rho_{ij} \, / \, \sum_{i<j} w_i w_j.

    A metric under which clips contradict each other, or which often rates noise above
    explanations, cannot tell methods apart by its mean.

    Args:
      scores: [I, K] what the metric gave K methods on I clips, one method a random map;
        finite. The number depends on which methods take part: name them.
      random: column of the random map.
      higher_is_better: direction of the metric: True for insertion in the order most
        first and deletion least first, False for the other two.

    Returns:
      `Reliability`; higher is better, 1 where all clips agree, with chance beside it.
      Clips on which all methods score the same order nothing: their weight is 0.

    Raises:
      ValueError: not [I, K] with I and K at least 2, values that are not finite, a
        column that does not exist.

    References:
      Li et al., "Spatio-temporal Perturbations for Video Attribution", TCSVT 2021,
      https://arxiv.org/abs/2109.00222: on UCF101-24, insertion reaches 0.63 and
      deletion 0.21 (6 methods, 4096 blocks; chance is 0.09). Deviations: their code
      adds 1e-10 to the denominator, and clips without any order weigh 1.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or min(scores.shape) < 2 or not np.isfinite(scores).all():
        raise ValueError(
            "`scores` must be finite [I, K], at least 2 clips and 2 methods, got shape "
            f"{scores.shape} with {np.count_nonzero(~np.isfinite(scores))} not finite."
        )
    num_methods = scores.shape[1]
    if not 0 <= random < num_methods:
        raise ValueError(
            f"`random` must be a column in 0..{num_methods - 1}, got {random!r}."
        )
    scores = scores if higher_is_better else -scores
    worse = (scores < scores[:, random, None]).sum(1)
    flat = scores.max(1) == scores.min(1)
    weights = np.where(flat, 0, 1 - worse / (num_methods - 1))
    ranks = np.apply_along_axis(average_ranks, 1, scores) - (num_methods + 1) / 2
    # Rows of unit length: their products are the correlations. Over pairs i < j,
    # sum w_i w_j z_i z_j = (|sum w_i z_i|^2 - sum w_i^2) / 2, without the I x I table.
    units = ranks / np.where(flat, 1, np.linalg.norm(ranks, axis=1))[:, None]
    squares = (weights**2).sum()
    agree = ((weights @ units) ** 2).sum() - squares
    pairs = weights.sum() ** 2 - squares
    alpha = float(agree / pairs) if np.count_nonzero(weights) > 1 else np.nan
    worst = float((worse[~flat] == 0).mean()) if not flat.all() else np.nan
    chance = (num_methods + 1) / (3 * (num_methods - 1) ** 2)
    return Reliability(alpha, chance, weights, worst)
