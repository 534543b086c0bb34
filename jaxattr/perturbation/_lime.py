"""LIME: a linear model of the score in which segments of the clip are shown."""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._segments import paint, segment_inputs, sizes
from jaxattr._substitute import check_substitute
from jaxattr.perturbation._coalitions import scores_of
from jaxattr.perturbation._hiding import BY_SEGMENT, hiding_segments
from jaxattr.perturbation._least_squares import (
    predict,
    weighted_least_squares,
    weighted_r2,
)


class LinearModel(NamedTuple):
    """A linear model of the score, and how well it fits.

    Attributes:
      values: [T, H, W] coefficient of every voxel's segment, in units of the score.
      coefficients: [M] of every segment; 0 for a label that does not occur.
      intercept: [] what the model says when nothing is shown.
      r2: [] weighted R² of the fit, at most 1. Higher is better: at 0 the coefficients
        say no more than the mean score does.
    """

    values: jax.Array
    coefficients: jax.Array
    intercept: jax.Array
    r2: jax.Array


def lime(
    f: Network,
    *,
    num_segments: int = 64,
    num_samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., LinearModel]:
    r"""Attributes the score to segments by a local linear model.

    Sample :math:`z` shows each segment with probability ½; the first shows them all.
    The coefficients minimise :math:`\sum_z \pi(z) (s(z) - a - z \cdot c)^2 + \alpha
    |c|^2` with :math:`\pi(z) = \sqrt{\exp(-d^2 / \kappa^2)}`, d the cosine distance of
    z to all ones, 1 for an empty z. Of M segments, k shown: :math:`d = 1 -
    \sqrt{k / M}`. With many segments nearly every sample has the same weight.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; never differentiated.
      num_segments: M, above every label of the segmentation; static.
      num_samples: evaluations of the network; several times M.
      kernel_width: kappa, of the weights.
      ridge: alpha; at 0 the least squares of the least norm. It pulls coefficients to
        0, the more the fewer samples: compare maps of equal settings only.
      substitute: what hidden segments become: "mean" (0 in network units),
        "clip_mean", "segment_mean", "blur", "median" (over time), "noise", "freeze"
        (what was shown before), "black" or an array.
      score: what to explain; see `jaxattr.Score`.
      chunk: samples evaluated side by side; changes memory and rounding.

    Returns:
      `explain(clip, target, *, segments, key) -> LinearModel`, `segments` integer
      labels [T, H, W] such as `jaxattr.data.supervoxels(clip, num_segments)`.

    Raises:
      ValueError: a bad count, width or ridge; from `explain`, a missing key, labels out
        of range (traced ones give NaN).
      TypeError: from `explain`, labels that are not integers.

    References:
      Ribeiro, Singh and Guestrin, "Why Should I Trust You?", KDD 2016,
      https://arxiv.org/abs/1602.04938; kernel, width and ridge as in its reference
      package, from memory: our reading. Deviation: its hidden segments take their own
      mean colour, which here is "segment_mean".
    """
    inputs = segment_inputs(num_segments)
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    if not (isinstance(kernel_width, numbers.Real) and kernel_width > 0):
        raise ValueError(f"`kernel_width` must be positive, got {kernel_width!r}.")
    if not (isinstance(ridge, numbers.Real) and ridge >= 0):
        raise ValueError(f"`ridge` must be at least 0, got {ridge!r}.")
    name, value = check_substitute(substitute, f, BY_SEGMENT)
    return explainer(
        _lime,
        f,
        value,
        kernel_width,
        ridge,
        random=True,
        single=True,
        inputs=inputs,
        score=score,
        name=name,
        num_segments=int(num_segments),
        num_samples=num_samples,
        chunk=chunk,
    )


def _lime(
    f,
    clip,
    target,
    value,
    kernel_width,
    ridge,
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

    def draw(index):
        coins = jax.random.bernoulli(jax.random.fold_in(key, index), 0.5, present.shape)
        return present & (coins | (index == 0))

    z = jax.vmap(draw)(jnp.arange(num_samples, dtype=jnp.int32))
    scores = scores_of(lambda kept: s(show(kept)), z, chunk=chunk)
    features = z.astype(scores.dtype)
    share = features.sum(1) / present.sum().astype(scores.dtype)
    width = kernel_width.astype(scores.dtype)
    weights = jnp.exp(-(((1 - jnp.sqrt(share)) / width) ** 2) / 2)
    fit = weighted_least_squares(
        features, scores, weights, ridge=ridge.astype(scores.dtype)
    )
    r2 = weighted_r2(scores, predict(fit, features), weights)
    values = paint(fit.coefficients, segments)
    return LinearModel(values, fit.coefficients, fit.intercept, r2)
