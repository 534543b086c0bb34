"""KernelSHAP: Shapley values of a clip's segments, as a least-squares problem."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._segments import paint, segment_inputs, sizes
from jaxattr._substitute import check_substitute
from jaxattr.perturbation._coalitions import all_coalitions, scores_of
from jaxattr.perturbation._hiding import BY_SEGMENT, hiding_segments
from jaxattr.perturbation._least_squares import (
    Fit,
    predict,
    weighted_least_squares,
    weighted_r2,
)


class ShapleyValues(NamedTuple):
    """Shapley values of segments.

    Attributes:
      values: [T, H, W] Shapley value of every voxel's segment, in units of the score.
      shapley: [M] of every segment; 0 for a label that does not occur. They add up to
        the score of the clip minus `base`, exactly.
      base: [] score with every segment hidden.
      r2: [] weighted R² of the additive model, at most 1: how far the score is a sum
        over segments. It says nothing about the error of sampling.
    """

    values: jax.Array
    shapley: jax.Array
    base: jax.Array
    r2: jax.Array


def kernel_shap(
    f: Network,
    *,
    num_segments: int = 64,
    num_samples: int = 2048,
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., ShapleyValues]:
    r"""Attributes the score to segments by their Shapley values.

    They minimise :math:`\sum_z w(|z|) (s(z) - \phi_0 - z \cdot \phi)^2` over all sets z
    of shown segments, with :math:`w(k) = (M - 1) / (\binom M k k (M - k))`, subject to
    :math:`\phi_0 = s(b)` and :math:`\sum \phi = s(x) - s(b)`, which hold exactly: one
    segment is eliminated. Where all :math:`2^M` sets cost no more than sampling, they
    are all evaluated, and the values are exact. Else all sets of 1 and M - 1 segments
    are, and of the others `num_samples`, drawn in proportion to w, in pairs of a set
    and its complement.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; never differentiated; evaluated
        2 M + `num_samples` + 2 times, or 2**M times where that is less.
      num_segments: M, above every label of the segmentation; static.
      num_samples: sets drawn, rounded up to pairs.
      substitute: what hidden segments become: "mean" (0 in network units),
        "clip_mean", "segment_mean", "blur", "median" (over time), "noise", "freeze"
        (what was shown before), "black" or an array.
      score: what to explain; see `jaxattr.Score`.
      chunk: sets evaluated side by side; changes memory and rounding.

    Returns:
      `explain(clip, target, *, segments, key) -> ShapleyValues`, `segments` integer
      labels [T, H, W] such as `jaxattr.data.supervoxels(clip, num_segments)`. Frames
      are segments, too: `labels[t] = t`.

    Raises:
      ValueError: a bad count; from `explain`, a missing key (which exact values do not
        use), labels out of range (traced ones give NaN).
      TypeError: from `explain`, labels that are not integers.

    References:
      Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS
      2017, https://arxiv.org/abs/1705.07874, theorem 2; paired sampling: Covert and
      Lee, AISTATS 2021, https://arxiv.org/abs/2012.01536. Our reading: only the sets of
      1 and M - 1 segments are complete, whatever the budget.
    """
    inputs = segment_inputs(num_segments)
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    name, value = check_substitute(substitute, f, BY_SEGMENT)
    return explainer(
        _kernel_shap,
        f,
        value,
        random=True,
        single=True,
        inputs=inputs,
        score=score,
        name=name,
        num_segments=int(num_segments),
        num_samples=num_samples + num_samples % 2,
        chunk=chunk,
    )


def _kernel_shap(
    f,
    clip,
    target,
    value,
    *,
    segments,
    key,
    score,
    name,
    num_segments,
    num_samples,
    chunk,
):
    s = bind(f, clip, target, score)
    show = hiding_segments(name, value, clip, segments, num_segments)
    present = sizes(segments, num_segments) > 0
    # No more than 2**30 sets are ever counted: an int32 numbers them.
    if num_segments < 31 and 2**num_segments <= 2 * num_segments + num_samples + 2:
        z = all_coalitions(num_segments)
        drawn = jnp.zeros(len(z), bool)
    else:
        z, drawn = _sampled(key, present, num_samples)
    z = jnp.concatenate([jnp.zeros((1, num_segments), bool), present[None], z])
    drawn = jnp.concatenate([jnp.zeros(2, bool), drawn])
    z = z & present[None]
    scores = scores_of(lambda kept: s(show(kept)), z, chunk=chunk)
    nothing, everything = scores[0], scores[1]
    weights = _weights(z, drawn, present, scores.dtype)

    # The constraint, by eliminating the first segment that occurs.
    first = jnp.argmax(present)
    is_first = jnp.arange(num_segments) == first
    features = z.astype(scores.dtype)
    change = everything - nothing
    free = present & ~is_first
    others = jnp.where(free[None], features - features[:, first][:, None], 0)
    left = scores - nothing - features[:, first] * change
    fit = weighted_least_squares(others, left, weights, intercept=False)
    found = jnp.where(free, fit.coefficients, 0)
    shapley = jnp.where(is_first, change - found.sum(), found)

    r2 = weighted_r2(scores, predict(Fit(shapley, nothing), features), weights)
    return ShapleyValues(paint(shapley, segments), shapley, nothing, r2)


def _sampled(key, present, num_samples):
    """Sets of 1 and M - 1 segments, then random pairs; and which rows are drawn."""
    num = present.size
    count = present.sum(dtype=jnp.int32)
    k = jnp.arange(num + 1, dtype=jnp.int32)
    inner = (k > 1) & (k < count - 1)
    mass = jnp.where(inner, 1 / jnp.where(inner, k * (count - k), 1), 0)
    logits = jnp.log(jnp.where(mass.sum() > 0, mass, 1))

    def draw(index):
        k_size, k_set = jax.random.split(jax.random.fold_in(key, index))
        size = jax.random.categorical(k_size, logits)
        order = jnp.where(present, jax.random.uniform(k_set, (num,)), jnp.inf)
        return order < jnp.sort(order)[jnp.minimum(size, num - 1)]

    half = jax.vmap(draw)(jnp.arange(num_samples // 2, dtype=jnp.int32))
    single = jnp.eye(num, dtype=bool)
    sets = jnp.concatenate([single, ~single, half, ~half])
    return sets, jnp.arange(len(sets)) >= 2 * num


def _weights(z, drawn, present, dtype):
    """Kernel of each row; drawn rows share alike what those drawn from have in all."""
    count = present.sum().astype(dtype)
    size = z.sum(1).astype(dtype)
    proper = (size > 0) & (size < count)
    inside = jnp.where(proper, size * (count - size), 1)
    together = (count - 1) / inside  # Weight of all sets of that size.
    choices = jnp.exp(
        jax.lax.lgamma(count + 1)
        - jax.lax.lgamma(size + 1)
        - jax.lax.lgamma(jnp.maximum(count - size, 0) + 1)
    )
    k = jnp.arange(2, z.shape[1], dtype=dtype)
    inner = k < count - 1
    mass = ((count - 1) / jnp.where(inner, k * (count - k), 1)) @ inner.astype(dtype)
    number = jnp.maximum(drawn.sum().astype(dtype), 1)
    each = jnp.where(drawn, mass / number, together / choices)
    return jnp.where(proper, each, 0)
