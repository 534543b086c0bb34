"""What speaks for one class rather than another, by any method."""

import dataclasses
from typing import Any

import jax

from jaxattr._score import Score, check_score, reader
from jaxattr.compose._composition import Composition, Method, composed


def contrast(method: Method, *, score: Score = "logit") -> Method:
    """Explains the difference of two classes' scores: the target is a pair.

    For "logit" and "log_prob" that is the same: the logarithm of how many times more
    probable the first class is than the second.

    Args:
      method: transform with a setting `score`, such as `jaxattr.saliency`, or a
        `functools.partial` of one.
      score: of each class; see `jaxattr.Score`.

    Returns:
      A method: `contrast(method)(f, **settings)` with the other settings of `method`
      gives `explain(clip, (a, b), *, key=None)`, whose result is that of `method` for
      the score of a less the score of b.

    Raises:
      TypeError: `method` is not callable, or takes no score; from `explain`, a target
        that is no pair.
      ValueError: `score` is not known; from `explain`, a class out of range (NaN if it
        is traced), or a `score` among the settings of `method`.
    """
    check_score(score)
    return composed(_CONTRAST, method, score=score)


@dataclasses.dataclass(frozen=True)
class _Difference:
    """A score of a pair of targets."""

    score: Score

    def __call__(self, output: Any, target: Any) -> jax.Array:
        first, second = (
            reader(lambda output: output, output, each, self.score)(output)
            for each in target
        )
        return first - second


def _check(bound, clip, target, *, key, inputs, score):
    given = {**getattr(bound.method, "keywords", {}), **bound.settings}
    if "score" in given:
        raise ValueError(
            "`score` is a setting of contrast(method, score=...), and would have no "
            f"effect on the method: leave it out there, got {given['score']!r}."
        )
    if not isinstance(target, (tuple, list)) or len(target) != 2:
        raise TypeError(f"`target` must be a pair of classes (a, b), got {target!r}.")
    explain = bound.explain(score=score)  # It knows what a class may be.
    return [explain(clip, each, key=key, **inputs) for each in target]


def _contrast(bound, clip, target, *, key, inputs, score):
    explain = bound.explain(score=_Difference(score))
    return explain(clip, tuple(target), key=key, **inputs)


_CONTRAST = Composition(_contrast, _check)
