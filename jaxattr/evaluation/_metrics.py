"""The table of metrics: what a settings file may name, and how each is called."""

import inspect
import numbers
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax

from jaxattr import metrics
from jaxattr.metrics._ground_truth import poison, read_heatmap, read_mask


class Path(NamedTuple):
    """Scores of a clip whose units appear or vanish one after the other.

    Attributes:
      curve: [n] scores.
      shown: [n] share of the units that are seen at each of them, 0..1.
    """

    curve: Any
    shown: Any


class Scale(NamedTuple):
    """What a number of a metric is to be held against.

    Attributes:
      range: of its values, in words.
      chance: what a map gets that knows nothing, in words.
    """

    range: str
    chance: str


class Metric(NamedTuple):
    """A metric as an evaluation sees it.

    Attributes:
      name: in a settings file.
      function: of `jaxattr.metrics`, or of the same form.
      pick: what it returns -> the number that is recorded.
      kind: how it is called. "map": `function(heatmap, truth)`; "host": likewise, not
        traced; "network": `function(f)(clip, target, heatmap, key=key)`; "values": the
        same with raw values for the heat map; "method":
        `function(method, f)(clip, target, key=key)`.
      direction: what is better, "higher" or "lower".
      scale: its range and chance level.
      truth: which form of the annotation it compares with: "mask", "boxes" or "window".
      path: what it returns -> the scores that the number is of; None has no path.
    """

    name: str
    function: Callable[..., Any]
    pick: Callable[[Any], Any]
    kind: Literal["map", "host", "network", "values", "method"]
    direction: str
    scale: Scale
    truth: str | None = None
    path: Callable[[Any], Path] | None = None

    @property
    def settings(self) -> Mapping[str, inspect.Parameter]:
        """Its settings, by name."""
        parameters = inspect.signature(self.function).parameters
        return {
            name: one
            for name, one in parameters.items()
            if one.kind is inspect.Parameter.KEYWORD_ONLY
        }

    def better(self, settings: Mapping[str, Any]) -> str:
        """The direction with those settings: taking the coldest first turns it."""
        if settings.get("order") != "least_first":
            return self.direction
        return {"higher": "lower", "lower": "higher"}[self.direction]


def _iou(heatmap, truth, *, threshold: float = 0.5):
    """Overlap of the evidence and the voxels at that share of the hottest one's heat.

    Nothing of the truth goes into the threshold, unlike in `top_k_iou`. Chance: that of
    a random map depends on its distribution, so run a control; a constant map
    that is not negative gets the share of evidence, one below 0 throughout gets 0.

    Args:
      heatmap: [T, H, W], larger where there is more evidence; any scale.
      truth: evidence, [T, H, W] bool, or boxes [T, 4] as in `boxes_to_mask`.
      threshold: share of the largest value, in 0..1, not 0.

    Returns:
      [] intersection over union, 0 to 1; higher is better. NaN where traced input is
      not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, no evidence, a
        box outside the frame, a threshold out of range.
      TypeError: a heat map that is not floating point.
    """
    if not isinstance(threshold, numbers.Real) or not 0 < threshold <= 1:
        raise ValueError(
            f"`threshold` must be a share of the largest value in 0..1, not 0, got "
            f"{threshold!r}."
        )
    heat, finite = read_heatmap(heatmap)
    mask, some = read_mask(truth, heat.shape)
    return _overlap(heat, mask, finite & some, float(threshold))


@jax.jit(static_argnums=3)
def _overlap(heat, mask, valid, threshold):
    hot = heat >= heat.max() * threshold
    both, either = (x.sum().astype(heat.dtype) for x in (hot & mask, hot | mask))
    return poison(both / either, valid)


def _itself(result):
    return result


def _of_head(result):
    return result.spearman_abs[0]


def _appearing(result):
    return Path(result.curve, result.fraction)


def _vanishing(result):
    return Path(result.curve, 1 - result.fraction)


def _gap(result):
    return Path(result.least_first - result.most_first, 1 - result.fraction)


_MEASURED = "a random map's, measured"


def _on_map(name, chance, truth="mask", field=None, function=None):
    pick = operator.attrgetter(field) if field else _itself
    function, scale = function or getattr(metrics, name), Scale("0 to 1", chance)
    return Metric(name, function, pick, "map", "higher", scale, truth)


def _on_network(
    name, field, direction, scale, kind="network", function=None, path=None
):
    function, pick = function or getattr(metrics, name), operator.attrgetter(field)
    return Metric(name, function, pick, kind, direction, Scale(*scale), path=path)


def _on_method(name, field, direction, scale):
    return _on_network(name, field, direction, scale, "method")


_SCORE = ("that of the score, 0 to 1 of a probability", _MEASURED)
_SPREAD = Scale("0 to the log of the number of voxels", "0.28 below the top, of noise")
_LOSS = "that of a loss of score, -1 to 1 of a probability"
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _on_network("insertion", "auc", "higher", _SCORE, path=_appearing),
            _on_network("deletion", "auc", "lower", _SCORE, path=_vanishing),
            _on_network("aopc", "aopc", "higher", (_LOSS, _MEASURED), path=_vanishing),
            _on_network("abpc", "abpc", "higher", (_LOSS, "0"), path=_gap),
            _on_network("road", "mean", "lower", _SCORE, path=_vanishing),
            _on_network("faithfulness", "correlation", "higher", ("-1 to 1", "0")),
            _on_network("average_drop", "drop", "lower", ("0 to 1", _MEASURED)),
            _on_network(
                "average_increase",
                "increase",
                "higher",
                ("0 to 1", _MEASURED),
                function=metrics.average_drop,
            ),
            _on_network("completeness", "residual", "lower", ("from 0", "1"), "values"),
            Metric("complexity", metrics.complexity, _itself, "map", "lower", _SPREAD),
            _on_map("auprc", "share of evidence", field="auprc"),
            _on_map("top_k_iou", "p / (2 - p) for a share p of evidence", field="iou"),
            _on_map("iou", _MEASURED, function=_iou),
            _on_map("energy", "share of evidence", field="energy"),
            _on_map("energy_in_box", "the boxes' share", "boxes", "energy"),
            _on_map("hit", "share of voxels on or near evidence", field="hit"),
            _on_map("pointing_game", "share of pixels in a box", "boxes", "accuracy"),
            _on_map("localisation_iou", _MEASURED, "boxes", "iou")._replace(
                kind="host"
            ),
            _on_map("temporal_pointing", "share of such frames", "window", "hit"),
            _on_map("temporal_iou", _MEASURED, "window", "iou"),
            _on_method(
                "sanity_check", "spearman_abs", "lower", ("-1 to 1", "0")
            )._replace(pick=_of_head),
            _on_method("input_invariance", "spearman", "higher", ("-1 to 1", "0")),
            _on_method("max_sensitivity", "relative", "lower", ("from 0", "none")),
            _on_method("infidelity", "scaled", "lower", ("from 0", "that of zeros")),
            _on_method("stability", "mean", "higher", ("-1 to 1", "0")),
        )
    }
)
