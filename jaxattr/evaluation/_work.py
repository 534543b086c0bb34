"""What is done to one clip: every method explains it, every metric scores that."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxattr.data import Sample
from jaxattr.data._sample import MissingAnnotation
from jaxattr.evaluation._explain import REFUSALS, Explainer, within_memory
from jaxattr.evaluation._methods import RUNNABLE
from jaxattr.evaluation._metrics import METRICS
from jaxattr.evaluation._networks import Trained
from jaxattr.evaluation._score import Scored, Scorer, first_line, make_truth
from jaxattr.evaluation._settings import Choice, Settings
from jaxattr.program import Join, split

_NO_COST = {"seconds": None, "memory": None}


class Worker:
    """The methods and metrics of an evaluation, bound to one network.

    Args:
      network: to be explained.
      settings: of the evaluation.
      baselines: data set -> its clips [n, T, H, W, C], for methods that need some.
      needs: setting -> what makes it for a network, for methods that need it.

    Attributes:
      units: what a clip costs, about, in gradients.
    """

    def __init__(
        self,
        network: Trained,
        settings: Settings,
        baselines: Callable[[Choice], np.ndarray],
        needs: Mapping[str, Callable[[Any], Any]],
    ):
        self._network, self._settings = network, settings
        self._scorer = Scorer(network, settings.metrics)
        self._explainers = []
        for choice in settings.methods:
            names = RUNNABLE[choice.name].needs
            extra = {name: needs[name](network.f) for name in names if name in needs}
            if "baselines" in choice.options:
                extra["baselines"] = baselines(choice.options["baselines"])
            self._explainers.append(
                Explainer(network, choice, self._scorer.drawings, extra)
            )
        scores = sum(map(_cost, settings.metrics))
        self._costs = [e.gradients + scores for e in self._explainers]
        self.units = sum(self._costs)
        self._leaves, self._join = split(network.f)

    def records(
        self,
        data: Choice,
        name: str,
        index: int,
        sample: Sample | Exception,
        advance: Callable[[float], None],
    ) -> list[dict[str, Any]]:
        """The records of one clip.

        Args:
          data: the data set, of the settings.
          name: of the clip.
          index: of the clip in its data set.
          sample: or the error with which it could not be decoded.
          advance: called after every method with what it cost.
        """
        record = {
            "network": self._network.label,
            "data": data.label,
            "group": data.label,
            "clip": name,
            "index": index,
            "target": None,
        }
        if isinstance(sample, MissingAnnotation):
            return self._none(record, "no annotation", sample)
        if isinstance(sample, Exception):
            return self._none(record, "undecodable", sample)
        record["group"] = sample.group or data.label
        try:
            clip = _check_clip(sample.clip)
            truth = make_truth(sample)
        except REFUSALS as error:
            return self._none(record, "undecodable", error)
        try:
            with within_memory():
                target = record["target"] = self._target(data, sample, clip)
        except REFUSALS as error:
            return self._none(record, "refused", error)
        segments = self._scorer.segments(clip)
        key = jax.random.fold_in(jax.random.key(self._settings.seed), index)
        explain_key, score_key = jax.random.split(key)
        records = []
        for explainer, units in zip(self._explainers, self._costs):
            explained, scores = self._explain(
                explainer, clip, target, truth, segments, explain_key, score_key
            )
            cost = {"gradients": explainer.gradients, **_NO_COST}
            if explained is not None:
                cost |= {"seconds": explained.seconds, "memory": explained.memory}
            records += self._rows(record, explainer.choice, cost, scores)
            advance(units)
        return records

    def _explain(self, explainer, clip, target, truth, segments, key, score_key):
        """What one method says of one clip, None if nothing, and the scores."""
        count = len(self._settings.metrics)
        if explainer.needs_truth and truth is None:
            return None, [Scored(None, "no annotation")] * count
        explained = None
        try:
            with within_memory():
                explained = explainer(clip, target, truth, key)
                if not explained.finite:
                    return explained, [Scored(None, "not finite")] * count
                return explained, self._scorer(
                    explainer, explained, clip, target, truth, segments, score_key
                )
        except REFUSALS as error:
            return explained, [Scored(None, "refused", first_line(error))] * count

    def _rows(self, record, method, cost, scores):
        rows = []
        for metric, score in zip(self._settings.metrics, scores):
            row = {
                **record,
                "method": method.label,
                "metric": metric.label,
                "value": score.value,
                "direction": METRICS[metric.name].better(metric.settings),
                **cost,
                "status": score.status,
            }
            row |= {"message": score.message} if score.message else {}
            rows.append(row | (_rounded(score.path) if score.path else {}))
        return rows

    def _none(self, record, status, error):
        """Records that say why there is nothing else."""
        scores = [Scored(None, status, first_line(error))] * len(self._settings.metrics)
        return [
            row
            for one in self._explainers
            for row in self._rows(
                record, one.choice, {"gradients": one.gradients, **_NO_COST}, scores
            )
        ]

    def _target(self, data, sample, clip):
        logits = jax.eval_shape(
            functools.partial(_logits, self._join), self._leaves, clip
        )
        count = logits.shape[-1]
        if data.options["target"] == "predicted":
            return int(np.argmax(_predict(self._join, self._leaves, clip)))
        if not 0 <= sample.target < count:
            raise ValueError(
                f"its class {sample.target} is not among the network's {count}."
            )
        return int(sample.target)


def _logits(join: Join, leaves, clip):
    return join(leaves)(clip)


_predict = jax.jit(_logits, static_argnums=0)


def _check_clip(clip):
    clip = np.asarray(clip)
    if clip.ndim != 4 or clip.dtype != np.float32:
        raise ValueError(
            f"`clip` must be float32 [T, H, W, C], got {clip.dtype} {clip.shape}."
        )
    bad = int((~np.isfinite(clip)).sum())
    if bad:
        raise ValueError(f"`clip` holds {bad} values that are not finite numbers.")
    return clip


def _rounded(path):
    """Lists of six digits, more than a picture shows: a path has many numbers."""
    return {
        field: [float(f"{value:.6g}") for value in values]
        for field, values in path._asdict().items()
    }


def _cost(metric):
    """Of one call, about, in gradients: three evaluations make one."""
    known = METRICS[metric.name].settings
    for name in ("num_steps", "num_samples"):
        if name in known:
            return (metric.settings.get(name, known[name].default) + 1) / 3
    return 0.1
