"""Deletion: how soon the score falls when a clip vanishes in the order of a map."""

from collections.abc import Callable
from typing import Any

from jaxattr._score import Network, Score
from jaxattr.metrics._curve import CausalCurve, causal_curve
from jaxattr.metrics._units import Order, Reduce, Unit


def deletion(
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
    r"""Area under the score while units of the clip vanish, hottest first.

    The clip starts whole; state :math:`j` of `num_steps` lacks the first
    :math:`\lfloor jU/n \rfloor` of U units. All else is as in `insertion`.

    Direction: lower is better; with order="least_first" higher is better. Range: that
    of the score, 0..1 for "prob". Chance: the area of a random map, to be measured;
    it is that of `insertion` up to noise. Low values also come from removals that no
    longer look like a video: read it beside `insertion` and `road`. Ties: as in
    `insertion`.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      num_steps: n; the network is evaluated n + 1 times.
      unit: "block", "voxel", "frame" or "supervoxel"; see `insertion`.
      order: "most_first" (MoRF) or "least_first" (LeRF).
      substitute: what stands where the clip has vanished; see `insertion`.
      score: what is measured; see `jaxattr.Score`.
      chunk: states evaluated side by side; changes memory, never the result.
      block: another size of block, (h, w) or (t, h, w) voxels.
      reduce: heat of a supervoxel, "mean" or the study's "sum".

    Returns:
      `metric(clip, target, heatmap) -> CausalCurve`, as in `insertion`.

    Raises:
      ValueError: as in `insertion`.
      TypeError: as in `insertion`.

    References:
      Petsiuk, Das and Saenko, "RISE", BMVC 2018, https://arxiv.org/abs/1806.07421; Li
      et al., TCSVT 2021, https://arxiv.org/abs/2109.00222.
    """
    return causal_curve(
        f,
        insert=False,
        num_steps=num_steps,
        unit=unit,
        order=order,
        substitute=substitute,
        score=score,
        chunk=chunk,
        block=block,
        reduce=reduce,
    )
