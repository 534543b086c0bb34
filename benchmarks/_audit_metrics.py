"""The metrics that are audited: one list, from which everything else follows."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import _maps
import jax
import numpy as np

from jaxattr import metrics
from jaxattr.data import evidence

BLOCK = (1, 4, 4)  # Of 16 x 56 x 56: 3136 units.
BOX_TOLERANCE = 7 / 112  # Of the height, in the pointing game of the video study.
FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


class Entry(NamedTuple):
    """One line of the table: a metric, and how to run it.

    Attributes:
      measure: (case, maps [M, T, H, W], key) -> scores [M], chance level [] or NaN.
      higher: whether higher is better.
      range: of the scores.
    """

    measure: Callable[[_maps.Case, jax.Array, jax.Array], tuple[Any, Any]]
    higher: bool
    range: str


def entries(f: Callable[..., Any], steps: int) -> dict[str, Entry]:
    """Every metric of one clip and one map; a new one is a new line.

    Args:
      f: network.
      steps: of the curves, regions of AOPC and samples of faithfulness.
    """
    curve = {"num_steps": steps, "block": BLOCK}
    pointing = functools.partial(
        metrics.pointing_game, tolerance=BOX_TOLERANCE * evidence.HEIGHT
    )
    low = {"higher": False}
    return {
        # The one that looks at the map alone.
        "complexity": Entry(_complexity, False, "0..10.8 nats"),
        # Those that are given the evidence: metric, field of the case, of its result.
        "auprc": _compare(metrics.auprc, "mask", "auprc"),
        "top_k_iou": _compare(metrics.top_k_iou, "mask", "iou"),
        "hit": _compare(metrics.hit, "mask", "hit"),
        "energy": _compare(metrics.energy, "mask", "energy"),
        "energy_in_box": _compare(metrics.energy_in_box, "boxes", "energy"),
        "pointing_game": _compare(pointing, "boxes", "accuracy"),
        "localisation_iou": Entry(_localisation_iou, True, "0..1"),
        "temporal_pointing": _compare(metrics.temporal_pointing, "window", "hit"),
        "temporal_iou": _compare(metrics.temporal_iou, "window", "iou"),
        # Those that ask the network: transform, field of its result, range.
        "insertion": _ask(metrics.insertion(f, **curve), "auc"),
        "insertion, blur": _ask(
            metrics.insertion(f, substitute="blur", **curve), "auc"
        ),
        "deletion": _ask(metrics.deletion(f, **curve), "auc", **low),
        "deletion, blur": _ask(
            metrics.deletion(f, substitute="blur", **curve), "auc", **low
        ),
        "aopc": _ask(metrics.aopc(f, **curve), "aopc", "-1..1"),
        "abpc": _ask(metrics.abpc(f, **curve), "abpc", "-1..1", chance=0.0),
        "faithfulness": _ask(
            metrics.faithfulness(f, num_samples=steps, block=BLOCK),
            "correlation",
            "-1..1",
            chance=0.0,
        ),
        "faithfulness, frames": _ask(
            metrics.faithfulness(f, subsets="single", unit="frame"),
            "correlation",
            "-1..1",
            chance=0.0,
        ),
        "average_drop, drop": _ask(metrics.average_drop(f), "drop", **low),
        "average_drop, increase": _ask(metrics.average_drop(f), "increase"),
        "road": _ask(metrics.road(f, fractions=FRACTIONS), "mean", **low),
    }


def _ask(metric, field, range="0..1", *, higher=True, chance=np.nan):
    def measure(case, maps, key):
        return _asked(metric, case, maps, key, field=field), chance

    return Entry(measure, higher, range)


@functools.partial(jax.jit, static_argnames="field")
def _asked(metric, case, maps, key, *, field):
    def one(heatmap):
        return getattr(metric(case.clip, case.target, heatmap, key=key), field)

    return jax.vmap(one)(maps)


def _compare(metric, known, field):
    def measure(case, maps, key):
        result = jax.vmap(metric, (0, None))(maps, getattr(case, known))
        chance = getattr(result, "chance", np.full(1, np.nan))[0]
        return getattr(result, field), chance

    return Entry(measure, True, "0..1")


def _complexity(case, maps, key):
    return jax.vmap(metrics.complexity)(maps), np.nan


def _localisation_iou(case, maps, key):
    """At one threshold: the best one would be chosen with the truth in hand."""
    found = [metrics.localisation_iou(m, case.boxes, thresholds=(0.5,)) for m in maps]
    return np.array([one.iou for one in found]), np.nan
