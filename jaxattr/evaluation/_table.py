"""From records to tables: means, paired intervals, ranks, reliability, cost."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from jaxattr._checking import nearest
from jaxattr._expectation import check_count
from jaxattr.evaluation._curves import Curve
from jaxattr.evaluation._draws import interval, macro_draws, macro_mean
from jaxattr.evaluation._estimates import (
    Estimates,
    estimates,
    in_a_group_of_one,
    known_mean,
)
from jaxattr.evaluation._kendall import kendall
from jaxattr.evaluation._scores import (
    COSTS,
    Missing,
    Scores,
    gather,
    labels_of,
    part_of,
)
from jaxattr.metrics import reliability

By = Literal["network", "data", "group"]

_TAU_DRAWS = 2_000  # Ranks cost more than means, and their intervals are wide.
_COVER = 0.5  # Of a cell's clips that a method must have scores on to be ranked there.


class Reliabilities(NamedTuple):
    """`metrics.reliability` of every metric, mean over groups of means over networks.

    Attributes:
      alpha: [K], higher is better; NaN where clips have no order.
      chance: [K] alpha of random orders.
      random_worst: [K] share of the clips that rate no method below the random map.
    """

    alpha: np.ndarray
    chance: np.ndarray
    random_worst: np.ndarray


class Costs(NamedTuple):
    """Of an explanation, medians; NaN where they are not known.

    Attributes:
      gradients: [M] evaluations of the network, a forward pass taken as a third.
      seconds: [M], compilation not counted.
      memory: [M] bytes beside the weights and the clip.
    """

    gradients: np.ndarray
    seconds: np.ndarray
    memory: np.ndarray


class Table(NamedTuple):
    """What an evaluation says of M methods and K metrics.

    Attributes:
      part: "all", or the network, data set or group.
      methods: labels, best by the first metric first.
      metrics: labels.
      higher: for each metric, whether higher is better.
      groups: that the means are over.
      scores: [M, K].
      clips: [M, K] clips with a score from some network.
      explanations: [M, K] scores: clips x networks.
      baseline: the method that others are compared with, or None.
      differences: [M, K] method less baseline on the same explanations, or None.
      tau: [K, K] Kendall's rank correlation of two metrics over the methods that both
        have scores of, directions aligned: 1 where they order the methods alike.
      random: the random map, or None without one.
      reliability: likewise.
      costs: medians over explanations.
      missing: records without a score.
      curves: metric -> its path, of those whose records have one. Only in the table of
        all; that of part of the records is made by tabulating these.
    """

    part: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    higher: tuple[bool, ...]
    groups: tuple[str, ...]
    scores: Estimates
    clips: np.ndarray
    explanations: np.ndarray
    baseline: str | None
    differences: Estimates | None
    tau: Estimates
    random: str | None
    reliability: Reliabilities | None
    costs: Costs
    missing: tuple[Missing, ...]
    curves: Mapping[str, Curve]

    @property
    def marks(self) -> np.ndarray:
        """[M, K] 1 where a method is better than the baseline, -1 where it is worse."""
        if self.differences is None:
            return np.zeros(self.scores.mean.shape, int)
        above, below = self.differences.low > 0, self.differences.high < 0
        signs = np.where(self.higher, 1, -1)
        return (above.astype(int) - below.astype(int)) * signs


def tabulate(
    records: Iterable[Mapping[str, Any]],
    *,
    by: By | None = None,
    metrics: Sequence[str] | None = None,
    baseline: str | None = None,
    random: str = "random",
    num: int = 10_000,
    seed: int = 0,
) -> list[Table]:
    """Tables of an evaluation: of all records, then of each part.

    A clip's score is the mean over the networks that it was explained for, a group's
    the mean over its clips, the table's the mean over groups: many clips in one family
    of evidence, or many networks on one clip, weigh no more. Intervals draw clips anew
    within every group, the same for all methods; networks and groups are not drawn, so
    they are those of other clips of the same kind. They do not know how many methods
    were compared.

    A record without a score counts for nothing but the list of what is missing: means
    of methods that miss different clips are of different clips (`explanations` tells),
    differences never are.

    Args:
      records: of `evaluate`, in any order, such as `read_results` reads.
      by: "network", "data" or "group": adds a table for each.
      metrics: labels of those to take, the first to sort by; None takes all.
      baseline: label of a method to compare the others with.
      random: label of the random map, for `reliability` and pictures.
      num: draws of the bootstrap; at most 2,000 of them for ranks and curves.
      seed: of the draws.

    Returns:
      One `Table` of all; with `by`, one for each part after it.

    Raises:
      ValueError: no records, two of the same explanation and metric, paths of two
        lengths under one metric, an unknown name, `num < 1`.
    """
    check_count("num", num)
    if by is not None and by not in get_args(By):
        raise ValueError(f"`by` must be one of {get_args(By)} or None, got {by!r}.")
    scores = gather(records, metrics)
    if baseline is not None and baseline not in scores.methods:
        raise ValueError(
            f"`baseline` {baseline!r} is no method of the records"
            f"{nearest(baseline, scores.methods)}"
        )
    parts = [("all", scores)]
    if by is not None:
        parts += [(name, part_of(scores, by, name)) for name in labels_of(scores, by)]
    return [_tabulate(name, part, baseline, random, num, seed) for name, part in parts]


def _tabulate(label, scores: Scores, baseline, random, num, seed) -> Table:
    names = tuple(dict.fromkeys(group for group, _, _ in scores.clips))
    groups = np.array([names.index(group) for group, _, _ in scores.clips], int)
    order = _order(scores, groups)
    values = scores.values[:, :, order]
    methods = tuple(scores.methods[i] for i in order)
    by_clip = known_mean(values, 1)
    differences = None
    if baseline is not None:
        other = values[:, :, methods.index(baseline)][:, :, None]
        differences = estimates(known_mean(values - other, 1), groups, num, seed)
    reliable = None
    if random in methods:
        reliable = _reliabilities(values, groups, methods.index(random), scores.higher)
    return Table(
        part=label,
        methods=methods,
        metrics=scores.metrics,
        higher=scores.higher,
        groups=names,
        scores=estimates(by_clip, groups, num, seed),
        clips=(~np.isnan(by_clip)).sum(0),
        explanations=(~np.isnan(values)).sum((0, 1)),
        baseline=baseline,
        differences=differences,
        random=random if random in methods else None,
        tau=_tau(by_clip, groups, scores.higher, min(num, _TAU_DRAWS), seed),
        reliability=reliable,
        costs=Costs(*(_median(scores.costs[n][:, :, order]) for n in COSTS)),
        missing=scores.missing,
        curves={
            metric: paths.mean(scores.values.shape[:3], order, groups, num, seed)
            for metric, paths in scores.paths.items()
        },
    )


def _order(scores, groups):
    """Places of the methods, best by the first metric first, those without it last."""
    first = macro_mean(known_mean(scores.values[..., 0], 1), groups)
    worse = -first if scores.higher[0] else first
    return np.argsort(worse, kind="stable")  # NaN comes last.


def _median(costs):
    """[N, networks, M] -> [M]."""
    columns = (costs[:, :, i] for i in range(costs.shape[2]))
    known = [column[~np.isnan(column)] for column in columns]
    return np.array([np.median(one) if one.size else np.nan for one in known])


def _tau(by_clip, groups, higher, num, seed):
    signs = np.where(higher, 1, -1)
    mean = kendall((macro_mean(by_clip, groups) * signs)[None])[0]
    draws = macro_draws(by_clip, groups, num=num, seed=seed) * signs
    alone = in_a_group_of_one(~np.isnan(by_clip).all(1), groups)
    ends = interval(kendall(draws))
    ends = (np.where(alone | alone[:, None], np.nan, end) for end in ends)
    return Estimates(mean, *ends)


def _reliabilities(values, groups, random, higher):
    found = np.full((3, values.shape[3]), np.nan)
    for k, better in enumerate(higher):
        by_group = []
        for group in np.unique(groups):
            cells = values[groups == group, ..., k].swapaxes(0, 1)
            by_group.append([_reliability(cell, random, better) for cell in cells])
        if by_group:
            found[:, k] = known_mean(known_mean(np.array(by_group), 1), 0)
    return Reliabilities(*found)


def _reliability(cell, random, higher):
    """Of one network and group, [N, M], on the clips that all ranked methods have."""
    ranked = (~np.isnan(cell)).mean(0) >= _COVER
    whole = cell[~np.isnan(cell[:, ranked]).any(1)][:, ranked]
    if not ranked[random] or min(whole.shape) < 2:
        return (np.nan,) * 3
    place = int(ranked[:random].sum())
    found = reliability(whole, random=place, higher_is_better=higher)
    return found.alpha, found.chance, found.random_worst
