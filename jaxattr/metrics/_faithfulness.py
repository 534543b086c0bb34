"""Faithfulness: does the score fall as much as the removed heat says it should?"""

import numbers
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._expectation import check_chunk, check_count, each
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute, fill_in
from jaxattr.metrics._inputs import poison
from jaxattr.metrics._units import Unit, Units, check_name

Subsets = Literal["random", "single"]


class Faithfulness(NamedTuple):
    """Correlation between the heat that was removed and the score that was lost.

    Attributes:
      correlation: [] Pearson's, -1..1; NaN where heat or drops do not vary.
      heat: [n] sum of the heat map over every subset of units that was removed.
      drop: [n] score that was lost with it.
    """

    correlation: jax.Array
    heat: jax.Array
    drop: jax.Array


def faithfulness(
    f: Network,
    *,
    subsets: Subsets = "random",
    num_samples: int = 128,
    removed: float = 0.1,
    unit: Unit = "block",
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
    block: Any = None,
) -> Callable[..., Faithfulness]:
    """Correlates the heat of removed units with the loss of score.

    With subsets="random", `num_samples` random sets of units, all of one size; with
    "single" every unit by itself, without a key. The video study's frame-wise
    correlation is `faithfulness(f, subsets="single", unit="frame")`.

    Direction: higher is better. Range: -1..1. Chance: 0, with standard error
    1 / sqrt(n - 1) for n subsets. The order of units is not used, so ties do not
    matter; a constant map, or a score that never changes, gives NaN: such clips are
    left out of a mean, and should be counted.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      subsets: "random", which needs a key, or "single".
      num_samples: random subsets; the network is evaluated once more than that.
      removed: share of the units in a random subset, above 0 and below 1; at least one
        unit is removed.
      unit: "block", "voxel", "frame" or, in random subsets, "supervoxel"; see
        `insertion`.
      substitute: what stands where units are gone; see `insertion`.
      score: what is measured; see `jaxattr.Score`.
      chunk: subsets evaluated side by side; changes memory, never the result.
      block: another size of block, (h, w) or (t, h, w) voxels.

    Returns:
      `metric(clip, target, heatmap, *, key) -> Faithfulness`, as in `insertion`;
      without key for "single". Signed heat maps [T, H, W] are welcome.

    Raises:
      ValueError: as in `insertion`, `removed` outside 0..1, single supervoxels; from
        the call, a missing key.
      TypeError: as in `insertion`.

    References:
      Bhatt, Weller and Moura, "Evaluating and Aggregating Feature-based Model
      Explanations", IJCAI 2020, https://arxiv.org/abs/2005.00631, definition 1. Single
      units: Alvarez-Melis and Jaakkola, NeurIPS 2018; frames: Li et al., TCSVT 2021,
      https://arxiv.org/abs/2109.00222. Deviation: centred over each clip, where the
      study's code centres over the whole batch.
    """
    check_name("subsets", subsets, Subsets)
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    if not (isinstance(removed, numbers.Real) and 0 < removed < 1):
        raise ValueError(f"`removed` must be above 0 and below 1, got {removed!r}.")
    if subsets == "single" and unit == "supervoxel":
        raise ValueError(
            "`subsets` 'single' needs a number of units that is known beforehand, "
            "which unit='supervoxel' has not; use 'random'."
        )
    units = Units(unit, block)
    name, value = check_substitute(substitute, f)
    random = subsets == "random"
    return explainer(
        _random if random else _single,
        f,
        value,
        random=random,
        single=True,
        inputs=units.inputs,
        units=units,
        name=name,
        score=score,
        chunk=chunk,
        **({"num_samples": num_samples, "removed": float(removed)} if random else {}),
    )


def _random(
    f,
    clip,
    target,
    value,
    *,
    key,
    segments=None,
    units,
    removed,
    num_samples,
    **settings,
):
    layout = units.layout(clip.shape[:3], segments)
    size = jnp.round(removed * layout.count.astype(float)).astype(jnp.int32).clip(1)

    def subset(i):
        draw = jax.random.uniform(jax.random.fold_in(key, i), (layout.num,))
        order = jnp.argsort(jnp.where(layout.present, draw, jnp.inf))
        first = jnp.arange(layout.num, dtype=jnp.int32) < size
        return layout.spread(jnp.zeros(layout.num, bool).at[order].set(first))

    return _correlate(f, clip, target, value, subset, num_samples, **settings)


def _single(f, clip, target, value, *, units, **settings):
    layout = units.layout(clip.shape[:3])

    def subset(i):
        return layout.spread(jnp.arange(layout.num, dtype=jnp.int32) == i)

    return _correlate(f, clip, target, value, subset, layout.num, **settings)


def _correlate(
    f, clip, target, value, subset, num, *, heatmap, name, score, chunk
) -> Faithfulness:
    s = bind(f, clip, target, score)
    base = fill_in(name, value, clip)
    heatmap = widen(heatmap)
    whole = s(clip)

    def sample(i):
        gone = subset(i)
        heat = jnp.where(gone, heatmap, 0).sum()
        return heat, whole - s(jnp.where(gone[..., None], base, clip))

    heat, drop = each(sample, num, chunk=chunk)
    # What rounding alone can move does not vary.
    noise = (
        jnp.finfo(heat.dtype).eps * jnp.abs(heatmap).sum(),
        4 * jnp.finfo(drop.dtype).eps * jnp.maximum(jnp.abs(whole), 1),
    )
    dtype = jnp.promote_types(heat.dtype, drop.dtype)
    parts = [
        jnp.where(jnp.ptp(x) > least, x, jnp.nan).astype(dtype)
        for x, least in zip((heat, drop), noise)
    ]
    correlation = _pearson(*parts) * poison(heatmap, dtype)
    return Faithfulness(correlation, heat, drop)


def _pearson(a, b):
    a, b = a - a.mean(), b - b.mean()
    # Each over its own size: squares of small drops must not vanish.
    a, b = (x / jnp.abs(x).max() for x in (a, b))
    return (a * b).sum() / jnp.sqrt((a * a).sum() * (b * b).sum())
