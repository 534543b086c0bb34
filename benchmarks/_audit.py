"""What a metric's scores of maps of known worth say of the metric; NumPy only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _maps import CONTROLS, MAPS
from scipy import stats  # A dependency of JAX.

from jaxattr import metrics

FEW = 20  # Clips, under which percentile intervals are too narrow to judge by.
BLUR = 0.1  # Of the way from noise to the truth that mere blurring may gain.
ALIKE = "pearson"  # The similarity that the verdict uses.
_DRAWS = 2_000  # Of clips, for the interval of alpha.


def similarity(maps: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """How alike maps [M, T, H, W] are to the truth [T, H, W]: kind -> [M], -1 to 1.

    Ranks are the worse yardstick: most voxels are background, on which the truth is
    nearly flat, so that "spearman" compares noise.
    """
    columns = np.stack([*maps, truth]).reshape(len(maps) + 1, -1).astype(np.float64)
    return {
        "spearman": metrics.rank_correlation(columns.T)[-1, :-1],
        "pearson": np.corrcoef(columns)[-1, :-1],
    }


def judge(
    scores: np.ndarray, higher: bool, alike: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """All that the audit reports of one metric.

    Args:
      scores: [N, M] of N clips and the maps of `MAPS`; NaN where there is no number.
      higher: whether higher is better.
      alike: kind -> [N, M] similarity of the maps to the interventional truth.

    Returns:
      "scores": map -> mean and interval of the raw scores; "above": of pairs of maps,
      how often the first is rated better, ties half, chance 0.5; "blurring": what the
      rating gains from blurring a map, in the metric's units, positive is better;
      "excess": what of that lies beyond `BLUR` of the way from noise to the truth;
      "correlation": kind of similarity -> mean over clips of Spearman's correlation
      over the maps, chance 0; "alpha"; "krippendorff"; "trust", by the rule below.

    The rule. "no": the truth or the method's map is rated below what it should be above
    (the interval of "above" is under 0.5), the method's map is not told from the random
    one, or the correlation's interval is not above 0. "with care": the truth is not
    told from the method's map or from one of the controls, blurring noise or the map
    has an "excess", or alpha's interval is not above its chance. "yes": none of these.
    Fewer than `FEW` clips decide nothing.
    """
    column = {name: i for i, name in enumerate(MAPS)}
    rated = scores if higher else -scores

    def of(name):
        return rated[:, column[name]]

    def above(first, second):
        return interval((1 + np.sign(of(first) - of(second))) / 2)

    pairs = {
        "interventional > method": above("interventional", "method"),
        "evidence > method": above("evidence", "method"),
        "method > random": above("method", "random"),
    }
    pairs |= {
        f"interventional > {name}": above("interventional", name) for name in CONTROLS
    }
    pairs |= {f"method > {name}": above("method", name) for name in CONTROLS}
    gain = {name: of(f"{name}, blurred") - of(name) for name in ("method", "random")}
    way = of("interventional") - of("random")
    row = {
        "higher_is_better": higher,
        "scores": {name: interval(scores[:, i]) for name, i in column.items()},
        "above": pairs,
        "blurring": {name: interval(values) for name, values in gain.items()},
        "excess": {name: interval(g - BLUR * way) for name, g in gain.items()},
        "correlation": {
            kind: interval(_correlations(rated, values))
            for kind, values in alike.items()
        },
        **agreement(rated),
    }
    row["trust"] = trust(row)
    return row


def trust(row: Mapping[str, Any]) -> str:
    """The verdict of `judge`, with its reasons."""
    above, correlation = row["above"], row["correlation"][ALIKE]
    if above["method > random"]["n"] < FEW:
        return f"undecided: fewer than {FEW} clips"
    truth = [pair for pair in above if pair.startswith("interventional > ")]
    wrong = [
        f"{pair} fails"
        for pair in (*truth, "method > random")
        if above[pair]["high"] < 0.5
    ]
    if above["method > random"]["low"] <= 0.5 <= above["method > random"]["high"]:
        wrong.append("a map like noise")
    if correlation["low"] is None or correlation["low"] <= 0:
        wrong.append("unrelated to the truth")
    if wrong:
        return "no: " + ", ".join(wrong)
    doubts = [
        f"{pair} not told"
        for pair in truth
        if above[pair]["low"] <= 0.5 <= above[pair]["high"]
    ]
    for name, what in (("random", "noise"), ("method", "the map")):
        if row["excess"][name]["low"] > 0:
            doubts.append(f"rewards blurring {what}")
    if row["alpha"]["low"] is None or row["alpha"]["low"] <= row["alpha"]["chance"]:
        doubts.append("clips disagree")
    return "with care: " + ", ".join(doubts) if doubts else "yes"


def interval(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean and 95 % bootstrap interval over the clips that have a number."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return {"mean": None, "low": None, "high": None, "n": 0}
    return {**metrics.paired_bootstrap(values)._asdict(), "n": values.size}


def agreement(rated: np.ndarray) -> dict[str, Any]:
    """Whether clips rate the maps alike: the study's alpha, and Krippendorff's.

    Args:
      rated: [N, M], higher is better, the random map in column 0.

    Returns:
      "alpha": with its chance level and an interval from drawing clips, in which a clip
      does not meet itself: pairs of one clip always agree. "krippendorff": ordinal,
      clips as coders of the maps' ranks, chance 0.
    """
    rated = rated[np.isfinite(rated).all(1)]
    alpha = {"mean": None, "low": None, "high": None, "chance": None, "n": len(rated)}
    if len(rated) < 2:
        return {"alpha": alpha, "krippendorff": None}
    found = metrics.reliability(rated)
    alpha["chance"] = found.chance
    ranks = np.apply_along_axis(stats.rankdata, 1, rated)
    krippendorff = metrics.krippendorff_alpha(ranks, level="ordinal")
    if np.count_nonzero(found.weights) > 1:
        low, high = _drawn(rated, found.weights)
        alpha |= {"mean": found.alpha, "low": low, "high": high}
    return {
        "alpha": alpha,
        "krippendorff": krippendorff if np.isfinite(krippendorff) else None,
    }


def _drawn(rated, weights):
    """Interval of alpha."""
    num = len(rated)
    pairs = np.nan_to_num(metrics.rank_correlation(rated.T))  # Flat: weight 0.
    weights = np.outer(weights, weights)
    np.fill_diagonal(weights, 0)
    draws = np.random.default_rng(0).integers(num, size=(_DRAWS, num))
    counts = np.stack([np.bincount(draw, minlength=num) for draw in draws])
    over, under = (
        np.einsum("di,ij,dj->d", counts, table, counts, optimize=True)
        for table in (weights * pairs, weights)
    )
    met = under > 0  # Two clips of weight at least.
    low, high = np.quantile(over[met] / under[met], (0.025, 0.975))
    return float(low), float(high)


def _correlations(rated, alike):
    """Spearman's, over the maps of every clip; NaN where a score is missing or flat."""
    return [
        metrics.rank_correlation(np.stack([a, b], 1))[0, 1]
        if np.isfinite(a).all()
        else np.nan
        for a, b in zip(rated, alike)
    ]
