"""Greedy search for the segments that suffice: how far can insertion get?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_chunk, check_count, each
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._segments import paint, segment_inputs, sizes
from jaxattr._substitute import check_substitute
from jaxattr.perturbation._hiding import BY_SEGMENT, hiding_segments


class GreedyRegions(NamedTuple):
    """Segments in the order in which they were shown.

    Attributes:
      values: [T, H, W] in 0..1, 1 where the first segment is: the share of segments
        that come no earlier.
      order: [num_regions] int32 labels, first shown first; -1 once all are shown.
      curve: [num_regions + 1] score with the first 0..num_regions of them shown.
    """

    values: jax.Array
    order: jax.Array
    curve: jax.Array


def greedy_regions(
    f: Network,
    *,
    num_segments: int = 64,
    num_regions: int = 8,
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., GreedyRegions]:
    r"""Shows segment after segment, each time the one that raises the score most.

    It starts from the substitute, and evaluates every set with one segment more than
    was chosen: `num_regions` * `num_segments` + 1 evaluations, whatever the clip. Were
    the score monotone and submodular in the set shown, :math:`k` segments would reach
    at least :math:`1 - 1/e` of what any :math:`k` can; networks are neither, so it may
    miss segments that count together only. The segments that were not chosen follow in
    the order of the last step. A metric that inserts segments in that order cannot
    easily do better: what a method reaches there is to be read beside this.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; never differentiated.
      num_segments: M, above every label of the segmentation; static.
      num_regions: segments to choose, at most M.
      substitute: what hidden segments are: "mean" (0 in network units), "clip_mean",
        "segment_mean", "blur", "median" (over time), "noise", "freeze" (what was shown
        before), "black" or an array.
      score: what to raise; see `jaxattr.Score`.
      chunk: sets evaluated side by side; changes memory and rounding.

    Returns:
      `explain(clip, target, *, segments) -> GreedyRegions`, `segments` integer labels
      [T, H, W] such as `jaxattr.data.supervoxels(clip, num_segments)`. Of equal scores
      the lower label comes first.

    Raises:
      ValueError: a bad count, more regions than segments; from `explain`, labels out of
        range (traced ones give NaN).
      TypeError: from `explain`, labels that are not integers.

    References:
      Nemhauser, Wolsey and Fisher, "An analysis of approximations for maximizing
      submodular set functions", Mathematical Programming 1978; as an attribution: Chen
      et al., "Less is More: Fewer Interpretable Region via Submodular Subset
      Selection", ICLR 2024, https://arxiv.org/abs/2402.09164. Our reading: the score
      alone is the set function.
    """
    inputs = segment_inputs(num_segments)
    check_count("num_regions", num_regions)
    if num_regions > num_segments:
        raise ValueError(
            f"`num_regions` must be at most `num_segments`, {num_segments}, got "
            f"{num_regions}."
        )
    check_chunk(chunk)
    name, value = check_substitute(substitute, f, BY_SEGMENT)
    return explainer(
        _greedy,
        f,
        value,
        single=True,
        inputs=inputs,
        score=score,
        name=name,
        num_segments=int(num_segments),
        num_regions=num_regions,
        chunk=chunk,
    )


def _greedy(
    f,
    clip,
    target,
    value,
    *,
    segments,
    score,
    name,
    num_segments,
    num_regions,
    chunk,
):
    s = bind(f, clip, target, score)
    show = hiding_segments(name, value, clip, segments, num_segments)
    labels = jnp.arange(num_segments, dtype=jnp.int32)
    present = sizes(segments, num_segments) > 0

    def step(carry, _):
        chosen, _ = carry

        def one_more(label):
            return s(show(chosen | (labels == label)))

        scores = each(one_more, num_segments, chunk=chunk)
        # A NaN compares with nothing: it has to win, or nobody would see it.
        rank = jnp.where(jnp.isnan(scores), jnp.inf, scores)
        open_ = present & ~chosen
        rank = jnp.where(open_, rank, -jnp.inf)
        best = jnp.argmax(rank).astype(jnp.int32)
        found = open_.any()
        chosen = chosen | ((labels == best) & found)
        # Once all are shown every further set is the whole clip.
        return (chosen, rank), (jnp.where(found, best, -1), scores[best])

    nothing = s(show(jnp.zeros(num_segments, bool)))
    start = jnp.zeros(num_segments, bool), jnp.zeros(num_segments, nothing.dtype)
    (chosen, rank), (order, curve) = jax.lax.scan(step, start, length=num_regions)

    count = present.sum(dtype=jnp.int32)
    steps = jnp.arange(num_regions, dtype=jnp.int32)
    last = jnp.argsort(jnp.where(chosen, jnp.inf, -rank), stable=True)
    places = jnp.zeros_like(labels).at[last].set(labels, unique_indices=True)
    places = places + chosen.sum(dtype=jnp.int32)
    places = places.at[jnp.where(order < 0, num_segments, order)].set(
        steps, mode="drop"
    )
    share = (count - places).astype(nothing.dtype) / count.astype(nothing.dtype)
    curve = jnp.concatenate([nothing[None], curve])
    values = paint(share, segments) + 0 * curve.sum()
    return GreedyRegions(values, order, curve)
