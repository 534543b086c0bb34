"""Completeness: whether an attribution adds up to the change in score it explains."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import filled, narrow, widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr.metrics._inputs import check_values, poison


class Completeness(NamedTuple):
    """What an attribution fails to account for.

    Attributes:
      residual: [] |attributed - change| / |change|.
      attributed: [] sum of the attribution.
      change: [] score of the clip minus score of the baseline.
    """

    residual: jax.Array
    attributed: jax.Array
    change: jax.Array


def completeness(
    f: Network, *, baseline: Any, score: Score = "logit"
) -> Callable[..., Completeness]:
    """Relative error of the sum of an attribution against f(clip) - f(baseline).

    Direction: lower is better. Range: 0 (complete) upwards; 1 where the attribution
    adds up to nothing; infinite where it adds up to something and the score does not
    change (0 where neither does). Chance: 1, for a map of random signs of vanishing
    sum. Meaningful for methods that promise it: integrated gradients, DeepLIFT,
    Shapley values. It says nothing of which voxel got what, so ties do not matter.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      baseline: number, [C] or [T, H, W, C] in the clip's units: the method's own.
      score: the score that was explained. The default is that of the methods, "logit",
        not that of the other metrics.

    Returns:
      `metric(clip, target, values) -> Completeness`, with values [T, H, W, C], raw and
      signed; two evaluations of the network.

    Raises:
      ValueError: an unknown score; from the call, values of another shape or not finite
        (traced ones give NaN), a baseline that does not fit, a target out of range (a
        traced one gives NaN).
      TypeError: a baseline of text; from the call, a clip or values that are not
        floating point.

    References:
      Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
      https://arxiv.org/abs/1703.01365, proposition 1.
    """
    if isinstance(baseline, str):
        raise TypeError(f"`baseline` must be numbers or an array, got {baseline!r}.")
    return explainer(
        _measure,
        f,
        baseline,
        single=True,
        inputs={"values": check_values},
        score=score,
    )


def _measure(f, clip, target, baseline, *, values, score):
    s = bind(f, clip, target, score)
    change = s(clip) - s(narrow(filled(baseline, clip, "baseline"), clip))
    attributed = widen(values).sum().astype(change.dtype)
    attributed = attributed * poison(values, change.dtype)
    gap, size = jnp.abs(attributed - change), jnp.abs(change)
    residual = jnp.where(gap == 0, 0, gap / size)  # NaN is not 0 and stays.
    return Completeness(residual, attributed, change)
