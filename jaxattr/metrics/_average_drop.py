"""Average drop: how much of the score is lost when only the heat map shows through."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, widen
from jaxattr._explainer import explainer
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute, fill_in
from jaxattr.metrics._inputs import check_heatmap, poison


class AverageDrop(NamedTuple):
    """What happens to the score behind the heat map; average over clips.

    Attributes:
      drop: [] share of the score that is lost, 0..1.
      increase: [] 1 where the score rises instead, else 0.
      score: [] of the clip.
      masked: [] of the clip seen through the map.
    """

    drop: jax.Array
    increase: jax.Array
    score: jax.Array
    masked: jax.Array


def average_drop(
    f: Network, *, substitute: Any = "mean", score: Score = "prob"
) -> Callable[..., AverageDrop]:
    r"""Relative drop of the score when the clip is multiplied by its heat map.

    The map is scaled to :math:`m \in` 0..1 over the clip (`to_heatmap`, "range") and
    the network sees :math:`m x + (1 - m) b`; with Y and O the score before and after,
    the drop is :math:`\max(0, Y - O) / Y`. The paper's percentages are 100 times the
    means of `drop` and `increase` over clips.

    Direction: lower `drop` and higher `increase` are better. Range: 0..1 both. Chance:
    what a random map loses, to be measured. A map of ones would lose nothing, so it
    favours spread-out maps: read it beside `complexity`. A constant or all-zero map
    scales to zero, and loses what the substitute loses; ties do not matter.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      substitute: b; "mean" is 0 in network units, a plain product; see `insertion`.
      score: what is measured; it has to be positive, else the share is NaN.

    Returns:
      `metric(clip, target, heatmap) -> AverageDrop`, with heatmap [T, H, W]; two
      evaluations of the network.

    Raises:
      ValueError: an unknown name; from the call, a heat map of another shape, or not
        finite (a traced one gives NaN), a target out of range (a traced one gives NaN).
      TypeError: from the call, a clip or heat map that is not floating point.

    References:
      Chattopadhay et al., "Grad-CAM++", WACV 2018, https://arxiv.org/abs/1710.11063,
      section 4.1. Deviations: one map for the clip, scaled over all frames; the product
      is taken in network units, so that what is hidden is the mean colour.
    """
    name, value = check_substitute(substitute, f)
    return explainer(
        _measure,
        f,
        value,
        single=True,
        inputs={"heatmap": check_heatmap},
        name=name,
        score=score,
    )


def _measure(f, clip, target, value, *, heatmap, name, score):
    s = bind(f, clip, target, score)
    wide, base = widen(clip), widen(fill_in(name, value, clip))
    mask = to_heatmap(heatmap, channels="mean", normalise="range")
    mask = mask.astype(wide.dtype)[..., None]
    before = s(clip)
    after = s(narrow(mask * wide + (1 - mask) * base, clip))
    after = after * poison(heatmap, after.dtype)
    lost = jnp.maximum(before - after, 0)  # NaN stays NaN.
    drop = jnp.where(lost == 0, 0, lost / jnp.where(before > 0, before, jnp.nan))
    rises = (after > before).astype(lost.dtype)
    increase = jnp.where(jnp.isnan(lost), jnp.nan, rises)
    return AverageDrop(drop, increase, before, after)
