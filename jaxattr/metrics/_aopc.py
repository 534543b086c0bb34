"""AOPC: the mean loss of score over the first regions that are taken away."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute, fill_in
from jaxattr.metrics._inputs import poison
from jaxattr.metrics._states import removal_scores
from jaxattr.metrics._units import Order, Unit, Units, check_name, ranking


class Perturbation(NamedTuple):
    """Area over the perturbation curve.

    Attributes:
      aopc: [] mean over all states of the score lost, the whole clip included.
      curve: [num_steps + 1] score with the first 0..num_steps regions gone.
      fraction: [num_steps + 1] share of the clip's units that are gone, 0..1.
      tied: [] share of neighbours in the whole order with equal heat, 0..1.
    """

    aopc: jax.Array
    curve: jax.Array
    fraction: jax.Array
    tied: jax.Array


class PerturbationGap(NamedTuple):
    """Area between the two perturbation curves.

    Attributes:
      abpc: [] mean over all states of `least_first` minus `most_first`.
      most_first: [num_steps + 1] score, hottest regions gone.
      least_first: [num_steps + 1] score, coldest regions gone.
      fraction: [num_steps + 1] share of the clip's units that are gone, 0..1.
      tied: [] share of neighbours in the whole order with equal heat, 0..1.
    """

    abpc: jax.Array
    most_first: jax.Array
    least_first: jax.Array
    fraction: jax.Array
    tied: jax.Array


def aopc(
    f: Network,
    *,
    num_steps: int = 100,
    unit: Unit = "block",
    order: Order = "most_first",
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
    block: Any = None,
) -> Callable[..., Perturbation]:
    r"""Mean score lost while the first regions are taken away, one per step.

    With :math:`s_k` the score without the :math:`k` first regions, the result is
    :math:`\frac{1}{L+1} \sum_{k=0}^{L} (s_0 - s_k)`, :math:`L` = `num_steps`.
    `deletion` instead runs until nothing is left, in steps of many units.

    Direction: higher is better; with order="least_first" lower is better. Range: -1 to
    1 for "prob". Chance: what a random map loses, to be measured; 0 where so few
    regions do not matter. Ties in order of frame, row and column: a constant map
    measures that order.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      num_steps: L regions; the network is evaluated L + 1 times.
      unit: the region: "block", "voxel", "frame" or "supervoxel"; see `insertion`.
      order: "most_first" (MoRF) or "least_first" (LeRF).
      substitute: see `insertion`. The paper's uniform noise, drawn once per region, is
        an array of it: `jax.random.uniform(key, clip.shape, minval=low, maxval=high)`.
      score: what is measured; see `jaxattr.Score`.
      chunk: states evaluated side by side; changes memory, never the result.
      block: another size of block, (h, w) or (t, h, w) voxels. The paper has 9 x 9.

    Returns:
      `metric(clip, target, heatmap) -> Perturbation`, as in `insertion`; supervoxels
      count by their mean heat, and once all are gone the curve stays.

    Raises:
      ValueError: as in `insertion`; from the call, fewer units than `num_steps`.
      TypeError: as in `insertion`.

    References:
      Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has
      Learned", 2015, https://arxiv.org/abs/1509.06321, equation 12. Deviations: regions
      on a grid; one substitute by default, not a mean over draws of noise.
    """
    check_name("order", order, Order)
    return _transform(_aopc, f, num_steps, unit, substitute, score, chunk, block, order)


def abpc(
    f: Network,
    *,
    num_steps: int = 100,
    unit: Unit = "block",
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
    block: Any = None,
) -> Callable[..., PerturbationGap]:
    """Mean gap between taking the coldest and the hottest regions away.

    It is `aopc` with "most_first" minus `aopc` with "least_first"; the network is
    evaluated 2 (num_steps + 1) times. A network that is fragile to any removal cancels.

    Direction: higher is better. Range: -1 to 1 for "prob". Chance: 0, for a random map
    on average. Ties are in the same order in both curves: a constant map gives 0.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      num_steps: regions, one per step.
      unit: the region; see `insertion`.
      substitute: what stands where regions are gone; see `insertion`.
      score: what is measured; see `jaxattr.Score`.
      chunk: states evaluated side by side; changes memory, never the result.
      block: another size of block, (h, w) or (t, h, w) voxels.

    Returns:
      `metric(clip, target, heatmap) -> PerturbationGap`, as in `insertion`.

    Raises:
      ValueError: as in `aopc`.
      TypeError: as in `aopc`.

    References:
      Samek et al., 2015, https://arxiv.org/abs/1509.06321, section on the area between
      perturbation curves.
    """
    return _transform(_abpc, f, num_steps, unit, substitute, score, chunk, block, None)


def _transform(core, f, num_steps, unit, substitute, score, chunk, block, order):
    check_count("num_steps", num_steps)
    check_chunk(chunk)
    units = Units(unit, block)
    name, value = check_substitute(substitute, f)
    return explainer(
        core,
        f,
        value,
        single=True,
        inputs=units.inputs,
        units=units,
        name=name,
        num_steps=num_steps,
        order=order,
        score=score,
        chunk=chunk,
    )


def _aopc(f, clip, target, value, *, order, **settings):
    curve, *rest = _curve(f, clip, target, value, order, **settings)
    return Perturbation((curve[0] - curve).mean(), curve, *rest)


def _abpc(f, clip, target, value, *, order, **settings):
    most, *rest = _curve(f, clip, target, value, "most_first", **settings)
    least, *_ = _curve(f, clip, target, value, "least_first", **settings)
    return PerturbationGap((least - most).mean(), most, least, *rest)


def _curve(
    f,
    clip,
    target,
    value,
    order,
    *,
    heatmap,
    segments=None,
    units,
    name,
    num_steps,
    score,
    chunk,
):
    layout = units.layout(clip.shape[:3], segments)
    if layout.num < num_steps:
        raise ValueError(
            f"`num_steps` must be at most the number of units, {layout.num}, got "
            f"{num_steps}."
        )
    s = bind(f, clip, target, score)
    base = fill_in(name, value, clip)
    ranked = ranking(layout, heatmap, order)
    cuts = jnp.arange(num_steps + 1, dtype=jnp.int32)
    curve = removal_scores(s, clip, base, ranked.position, cuts, chunk=chunk)
    fraction = cuts.astype(curve.dtype) / ranked.count.astype(curve.dtype)
    return curve * poison(heatmap, curve.dtype), fraction, ranked.tied
