"""SWAG: one gradient, averaged over the segments of the clip."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._segments import paint, segment_inputs, sizes, sums
from jaxattr.rules._guided_backprop import guided_gradient

Gradient = Literal["vanilla", "guided"]
Reduce = Literal["mean", "sum"]


class SegmentGradient(NamedTuple):
    """The gradient of segments.

    Attributes:
      values: [T, H, W], not negative: what the segment of the voxel has.
      segment_values: [M] of every segment; 0 for a label that does not occur.
    """

    values: jax.Array
    segment_values: jax.Array


def swag(
    f: Network,
    *,
    num_segments: int = 64,
    gradient: Gradient = "vanilla",
    reduce: Reduce = "mean",
    score: Score = "logit",
) -> Callable[..., SegmentGradient]:
    r"""Gives every segment the mean absolute gradient inside it.

    :math:`v_g = \frac{1}{|g|} \sum_{i \in g} \frac{1}{C} \sum_c |\partial_{ic} s|`.
    The video form, SWAG-V, has segments that belong to one frame each: those of
    `jaxattr.data.supervoxels(clip, num_segments, per_frame=True)`, about 300 a frame.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; one gradient.
      num_segments: M, above every label of the segmentation; static.
      gradient: "vanilla", or "guided" backpropagation, which needs ReLUs.
      reduce: "mean" over the voxels of a segment; "sum" favours large segments.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target, *, segments) -> SegmentGradient`, `segments` integer labels
      [T, H, W].

    Raises:
      ValueError: a bad count, an unknown gradient or reduction; from `explain`, labels
        out of range (traced ones give NaN), "guided" on a network without ReLU.
      TypeError: from `explain`, labels that are not integers.

    References:
      Hartley et al., "SWAG: Superpixels Weighted by Average Gradients for Explanations
      of CNNs", WACV 2021; "SWAG-V: Explanations for Video using Superpixels Weighted by
      Average Gradients", WACV 2022. Our reading, from the abstracts: segments of the
      clip alone, without the gradient as a channel; mean over channels.
    """
    inputs = segment_inputs(num_segments)
    for name, value, known in (
        ("gradient", gradient, get_args(Gradient)),
        ("reduce", reduce, get_args(Reduce)),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}, got {value!r}.")
    return explainer(
        _swag,
        f,
        single=True,
        inputs=inputs,
        score=score,
        num_segments=int(num_segments),
        gradient=gradient,
        reduce=reduce,
    )


def _swag(f, clip, target, *, segments, score, num_segments, gradient, reduce):
    if gradient == "guided":
        slope = guided_gradient(f, clip, target, score=score)
    else:
        slope = jax.grad(bind(f, clip, target, score))(clip)
    heat = jnp.abs(widen(slope)).mean(-1)
    found = sums(heat, segments, num_segments)
    if reduce == "mean":
        found = found / jnp.maximum(sizes(segments, num_segments), 1).astype(heat.dtype)
    return SegmentGradient(paint(found, segments), found)
