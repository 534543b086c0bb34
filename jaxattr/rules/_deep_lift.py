"""DeepLIFT: the difference from a baseline, handed back to what differs."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import check_filling, filled, narrow, total, widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, reader
from jaxattr.program import trace
from jaxattr.rules._moved import moved
from jaxattr.rules._multipliers import Multipliers

_NUM_PARTS = {"rescale": 1, "reveal_cancel": 2}


class Contributions(NamedTuple):
    """What every voxel contributed to a difference in score.

    Attributes:
      values: like the clip, in float32 or wider, in units of the score; 0 where the
        clip is as its baseline.
      change: [] score of the clip less that of the baseline.
      residual: [] sum of `values` less `change`: 0 up to rounding, which in a bfloat16
        network is its own; `values` are not rounded on the way.
    """

    values: Any
    change: jax.Array
    residual: jax.Array


def deep_lift(
    f: Network,
    *,
    baseline: Any = 0.0,
    rule: Literal["rescale", "reveal_cancel"] = "rescale",
    score: Score = "logit",
) -> Callable[..., Contributions]:
    r"""Attributes the change of a score from a baseline, layer by layer.

    Clip and baseline run through the network side by side; a difference
    :math:`\Delta z` that becomes :math:`\Delta y` has the multiplier
    :math:`\Delta y / \Delta z`, and multipliers chain as derivatives do. Operations
    that are linear in the clip have their derivative for multiplier. So have functions
    of one element, however they are spelled, where the difference is lost in rounding.
    A product is split evenly, :math:`\Delta(ab) = \Delta a\, (b + b^0) / 2 + \Delta b\,
    (a + a^0) / 2`, a quotient is a product with a reciprocal, and the rise of a maximum
    goes to who is the largest now, its fall to who was. `values` sum to `change`.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K]; it may
        be recurrent, or a transformer.
      baseline: number, [C], [T, H, W, C] or a pytree like the clip, in the clip's
        units. 0 is the mean colour.
      rule: "rescale", or "reveal_cancel", which follows what rises and what falls from
        one non-linearity to the next apart, and gives each its mean effect with and
        without the other. Products, quotients and maxima have one rule in both.
      score: what to explain; see `jaxattr.Score`. The paper takes the logit.

    Returns:
      `explain(clip, target) -> Contributions`.

    Raises:
      ValueError: an unknown rule; from the call, a baseline that does not fit, an
        operation without a rule (it is named): sorting, indices and branches that
        depend on the clip, loops of an open number of rounds.
      TypeError: a baseline of text; from the call, a clip that is not floating point.

    References:
      Shrikumar, Greenside and Kundaje, "Learning Important Features Through Propagating
      Activation Differences", ICML 2017, https://arxiv.org/abs/1704.02685, section 3.
      Deviations: the derivative is taken where it explains the difference up to
      rounding, rather than below 1e-7; a layer with weights ends where the next
      non-linearity begins, so that batch norm belongs to it; products and quotients,
      of which the paper has none, are ours. `jax.lax.stop_gradient` stops nothing here.
      Verified; products, quotients and maxima are our reading.
    """
    if rule not in _NUM_PARTS:
        raise ValueError(
            f"`rule` must be one of {', '.join(map(repr, _NUM_PARTS))}, got {rule!r}."
        )
    check_filling(baseline, "baseline")
    return explainer(_deep_lift, f, baseline, rule=rule, score=score)


def _deep_lift(f, clip, target, baseline, *, rule, score):
    num_parts = _NUM_PARTS[rule]
    read = reader(f, clip, target, score)
    head = trace(read, f.output)
    start = filled(baseline, clip, "baseline")
    path = jax.tree.map(lambda x, b: x - b, widen(clip), start)

    def change(path):
        leaves = [
            moved(x, [d], num_parts)
            for x, d in zip(jax.tree.leaves(widen(clip)), jax.tree.leaves(path))
        ]
        output = f.carrying(leaves, Multipliers(f, num_parts))
        rule = Multipliers(head, num_parts)
        output = [rule.lifted(leaf) for leaf in output]
        scored = rule.lifted(*head.carrying(output, rule))
        return scored.move, scored.value

    move, pull, value = jax.vjp(change, path, has_aux=True)
    (multipliers,) = pull(jnp.ones_like(move))
    values = jax.tree.map(lambda d, m: d * m, path, multipliers)
    difference = value - read(f(narrow(start, clip)))
    return Contributions(values, difference, total(values) - difference)
