"""The score as a clip vanishes, or appears, unit by unit: insertion and deletion."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute, fill_in
from jaxattr.metrics._inputs import poison
from jaxattr.metrics._states import cut_points, removal_scores
from jaxattr.metrics._units import Order, Reduce, Unit, Units, check_name, ranking


class CausalCurve(NamedTuple):
    """A curve of scores and the area under it.

    Attributes:
      auc: [] area under `curve` over 0..1, by trapezoids of equal width.
      curve: [num_steps + 1] score after every step, the first before any.
      fraction: [num_steps + 1] share of the units that have changed, 0..1.
      tied: [] share of neighbours in the order with equal heat, 0..1: how much of the
        order is arbitrary. 1 says that the map is constant and ranks nothing.
    """

    auc: jax.Array
    curve: jax.Array
    fraction: jax.Array
    tied: jax.Array


def causal_curve(
    f: Network,
    *,
    insert: bool,
    num_steps: int,
    unit: Unit,
    order: Order,
    substitute: Any,
    score: Score,
    chunk: int | None,
    block: Any,
    reduce: Reduce,
) -> Callable[..., CausalCurve]:
    """What `insertion` and `deletion` share: all but the clip that they start from."""
    check_count("num_steps", num_steps)
    check_chunk(chunk)
    check_name("order", order, Order)
    units = Units(unit, block, reduce)
    name, value = check_substitute(substitute, f)
    return explainer(
        _measure,
        f,
        value,
        single=True,
        inputs=units.inputs,
        units=units,
        name=name,
        insert=insert,
        num_steps=num_steps,
        order=order,
        score=score,
        chunk=chunk,
    )


def _measure(
    f,
    clip,
    target,
    value,
    *,
    heatmap,
    segments=None,
    units,
    name,
    insert,
    num_steps,
    order,
    score,
    chunk,
):
    s = bind(f, clip, target, score)
    base = fill_in(name, value, clip)
    ranked = ranking(units.layout(clip.shape[:3], segments), heatmap, order)
    cuts = cut_points(ranked.count, num_steps)
    curve = removal_scores(
        s, clip, base, ranked.position, cuts, insert=insert, chunk=chunk
    )
    curve = curve * poison(heatmap, curve.dtype)
    auc = (curve.sum() - (curve[0] + curve[-1]) / 2) / num_steps
    fraction = cuts.astype(curve.dtype) / ranked.count.astype(curve.dtype)
    return CausalCurve(auc, curve, fraction, ranked.tied)
