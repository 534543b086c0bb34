"""Insertion: how soon the score rises when a clip appears in the order of a map."""

from collections.abc import Callable
from typing import Any

from jaxattr._score import Network, Score
from jaxattr.metrics._curve import CausalCurve, causal_curve
from jaxattr.metrics._units import Order, Reduce, Unit


def insertion(
    f: Network,
    *,
    num_steps: int = 128,
    unit: Unit = "block",
    order: Order = "most_first",
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
    block: Any = None,
    reduce: Reduce = "mean",
) -> Callable[..., CausalCurve]:
    r"""Area under the score while units of the clip appear, hottest first.

    The clip starts as the substitute. With U units in the order of their heat over the
    whole clip, state :math:`j = 0 \dots n` shows the first :math:`\lfloor jU/n \rfloor`
    of them, and the area is :math:`(\sum_j s_j - (s_0 + s_n)/2) / n`.

    Direction: higher is better; with order="least_first" lower is better. Range: that
    of the score, 0..1 for "prob". Chance: the area of a random map, which depends on
    network and clip and has to be measured (R(2+1)D-18 on UCF101-24 in the video
    study: 0.21 by blocks, 0.19 by voxels). Units of equal heat are taken in order of
    frame, row and column, in both directions: a constant map is legal, and measures
    that order. Without ties, and where n divides U, insertion with "most_first" is
    deletion with "least_first", and the other way round.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      num_steps: n; the network is evaluated n + 1 times.
      unit: "block", H/16 x W/16 pixels of one frame, or what divides it nearest to
        that; "voxel"; "frame"; "supervoxel", the part of a segment in one frame, of an
        input `segments`.
      order: "most_first" (MoRF) or "least_first" (LeRF).
      substitute: "mean" (0, the mean colour in network units), "clip_mean" (of every
        channel), "blur" (20 pixels at 112), "median" (over time), "noise" (of every
        channel's mean and spread), "black" (of a network with `spec`), or an array that
        broadcasts to the clip.
      score: what is measured; see `jaxattr.Score`. The target need not be predicted.
      chunk: states evaluated side by side; changes memory, never the result.
      block: another size of block, (h, w) or (t, h, w) voxels; it must divide the
        clip.
      reduce: heat of a supervoxel, "mean" over its voxels, or the study's "sum", by
        which large segments come first.

    Returns:
      `metric(clip, target, heatmap) -> CausalCurve`, to be composed with `jit` and
      `vmap`, with heatmap [T, H, W]; with unit="supervoxel"
      `metric(clip, target, heatmap, segments)`, integer labels [T, H, W].

    Raises:
      ValueError: an unknown name, `num_steps < 1`; from the call, a heat map of
        another shape, or not finite (a traced one gives NaN), blocks that do not
        divide the clip, a target out of range (a traced one gives NaN).
      TypeError: from the call, a clip or heat map that is not floating point.

    References:
      Petsiuk, Das and Saenko, "RISE", BMVC 2018, https://arxiv.org/abs/1806.07421;
      blocks, supervoxels and both orders in video: Li et al., TCSVT 2021,
      https://arxiv.org/abs/2109.00222. Deviation: stable order of ties.
    """
    return causal_curve(
        f,
        insert=True,
        num_steps=num_steps,
        unit=unit,
        order=order,
        substitute=substitute,
        score=score,
        chunk=chunk,
        block=block,
        reduce=reduce,
    )
