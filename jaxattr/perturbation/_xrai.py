"""XRAI: integrated gradients, gathered into regions from the hottest on."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import widen
from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Network, Score
from jaxattr._segments import LabelsBelow, in_range, segment_inputs, sums
from jaxattr.gradient._integrated_gradients import path_attribution


class RegionAttribution(NamedTuple):
    """Regions of attribution.

    Attributes:
      values: [T, H, W] in 0..1, mean heat of what each region added when it was taken.
      heat: [T, H, W] in 0..1, the attribution that was gathered.
      num_regions: [] int32 regions taken.
    """

    values: jax.Array
    heat: jax.Array
    num_regions: jax.Array


def xrai(
    f: Network,
    *,
    num_segments: int = 64,
    num_steps: int = 25,
    min_voxels: int | None = None,
    score: Score = "logit",
    chunk: int | None = None,
) -> Callable[..., RegionAttribution]:
    """Attributes the score to regions of one or several segmentations.

    The heat is the mean of two maps, integrated gradients from black (the least number
    of the clip) and from white (the greatest), each its mean absolute value over
    channels, cut at the 99.9 % quantile and scaled to 0..1. Then, again and again, the
    segment is taken whose voxels that no other covers yet have the highest mean heat;
    these voxels get that mean. Segments that would add too few voxels are left; what is
    never covered gets its mean heat. Of equal means the first segmentation's, then the
    lower label's comes first.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; 2 `num_steps` gradients.
      num_segments: above every label of every segmentation; static.
      num_steps: of each integral.
      min_voxels: fewest new voxels of a segment; None takes one in 4000 of the clip's,
        the study's 50 of 16 frames of 112 x 112.
      score: what to explain; see `jaxattr.Score`.
      chunk: gradients computed side by side; changes memory and rounding.

    Returns:
      `explain(clip, target, *, segments) -> RegionAttribution`, `segments` integer
      labels [T, H, W], or of S segmentations [S, T, H, W]: the study stacks
      `jaxattr.data.supervoxels(clip, n)` for n = 10, 20, 50, 60, 80 and 100.

    Raises:
      ValueError: a bad count; from `explain`, labels out of range (traced ones give
        NaN), or of another shape.
      TypeError: from `explain`, labels that are not integers.

    References:
      Kapishnikov et al., "XRAI: Better Attributions Through Regions", ICCV 2019,
      https://arxiv.org/abs/1906.02825, in the form of Li et al., TCSVT 2021,
      https://arxiv.org/abs/2109.00222. Our reading: midpoints in the integrals; regions
      are taken by the mean of what they add, not by the gain in total.
    """
    (labels,) = segment_inputs(num_segments).values()
    check_count("num_steps", num_steps)
    if min_voxels is not None:
        check_count("min_voxels", min_voxels)
    check_chunk(chunk)
    return explainer(
        _xrai,
        f,
        single=True,
        inputs={"segments": _Stack(labels)},
        score=score,
        num_segments=int(num_segments),
        num_steps=num_steps,
        min_voxels=min_voxels,
        chunk=chunk,
    )


@dataclasses.dataclass(frozen=True)
class _Stack:
    """The check of one segmentation or several: gives [S, T, H, W]."""

    labels: LabelsBelow

    def __call__(self, segments: Any, clip: jax.Array) -> jax.Array:
        array = isinstance(segments, (jax.Array, np.ndarray))
        if not array or segments.ndim != 4:
            return self.labels(segments, clip)[None]
        if not len(segments):
            raise ValueError("`segments` must hold at least one segmentation, got 0.")
        # Inside another trace JAX would make tracers of levels that are known.
        known = not isinstance(segments, jax.core.Tracer)
        levels = np.asarray(segments) if known else segments
        return jnp.stack([self.labels(level, clip) for level in levels])


def _xrai(
    f, clip, target, *, segments, score, num_segments, num_steps, min_voxels, chunk
):
    least = max(1, clip[..., 0].size // 4000) if min_voxels is None else min_voxels
    wide = widen(clip)
    maps = []
    for end in (wide.min(), wide.max()):
        path = path_attribution(
            f, clip, target, end, num_steps=num_steps, score=score, chunk=chunk
        )
        maps.append(to_heatmap(path.values, channels="abs_mean", quantile=0.999))
    heat = (maps[0] + maps[1]) / 2
    heat = heat * in_range(segments, num_segments).astype(heat.dtype)

    def offers(covered):
        """What every segment would add, [S, M]: mean heat, and whether it may."""
        open_ = (~covered).astype(heat.dtype)
        total = jax.vmap(lambda labels: sums(heat * open_, labels, num_segments))
        size = jax.vmap(lambda labels: sums(open_, labels, num_segments))(segments)
        mean = total(segments) / jnp.maximum(size, 1)
        return mean, size >= least

    def cond(state):
        return offers(state[0])[1].any()

    def body(state):
        covered, values, count = state
        mean, allowed = offers(covered)
        best = jnp.argmax(jnp.where(allowed, mean, -jnp.inf))
        level, label = jnp.unravel_index(best, mean.shape)
        new = (segments[level] == label.astype(segments.dtype)) & ~covered
        values = jnp.where(new, mean.ravel()[best], values)
        return covered | new, values, count + 1

    start = jnp.zeros(heat.shape, bool), jnp.zeros_like(heat), jnp.int32(0)
    covered, values, count = jax.lax.while_loop(cond, body, start)
    left = (~covered).astype(heat.dtype)
    mean = (heat * left).sum() / jnp.maximum(left.sum(), 1)
    return RegionAttribution(jnp.where(covered, values, mean), heat, count)
