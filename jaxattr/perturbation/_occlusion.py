"""Occlusion: what the score loses when a tube of the clip is hidden."""

import math
import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._expectation import check_chunk, each
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute
from jaxattr.perturbation._hiding import BY_VOXEL, hiding

Extent = tuple[int | None, int | None, int | None]
Reduce = Literal["mean", "sum"]


class Occlusion(NamedTuple):
    """What the score loses without each part of the clip.

    Attributes:
      values: [T, H, W], in units of the score; positive where hiding lowers it.
      drops: [n_t, n_h, n_w] loss for every position of the window.
      starts: the first frames [n_t], rows [n_h] and columns [n_w] of the windows.
    """

    values: jax.Array
    drops: jax.Array
    starts: tuple[jax.Array, jax.Array, jax.Array]


def occlusion(
    f: Network,
    *,
    window: Extent | None = None,
    stride: Extent | None = None,
    substitute: Any = "mean",
    reduce: Reduce = "mean",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., Occlusion]:
    r"""Attributes to every voxel what hiding a window around it takes from the score.

    The window moves through frames, rows and columns; its last position is aligned to
    the end of the clip. For each one :math:`\delta = s(x) - s(x')`, :math:`x'` the clip
    with the substitute inside the window, and a voxel gets the mean (or sum) of
    :math:`\delta` over the windows that cover it. The network is evaluated once for
    every position and once more: by default 1184 times on 16 frames of 112 x 112.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; never differentiated.
      window: (frames, rows, columns), None in a place for all of them: (None, 16, 16)
        are tubes through the whole clip, (1, None, None) single frames. None takes a
        quarter of the frames and a seventh of rows and columns.
      stride: likewise, at most the window; None takes half of the window.
      substitute: what stands in the window: "mean" (0 in network units), "clip_mean",
        "blur", "median" (over time), "noise", "freeze" (what was there before the
        window, in the first frames the first), "black" or an array. Single frames that
        turn grey flicker: "median" and "freeze" do not.
      reduce: "mean" over the windows that cover a voxel, or "sum", with which voxels
        near the border get less.
      score: what to explain; see `jaxattr.Score`.
      chunk: windows evaluated side by side; changes memory and rounding.

    Returns:
      `explain(clip, target) -> Occlusion`.

    Raises:
      ValueError: a bad window, stride or reduction; from `explain`, a window larger
        than the clip, or a stride larger than the window.

    References:
      Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
      2014, https://arxiv.org/abs/1311.2901, section 4.2. Our reading: they map the
      score at the window's centre; means over windows, and extent in time.
    """
    if reduce not in get_args(Reduce):
        raise ValueError(f"`reduce` must be one of {get_args(Reduce)}, got {reduce!r}.")
    check_chunk(chunk)
    name, value = check_substitute(substitute, f, BY_VOXEL)
    return explainer(
        _occlusion,
        f,
        value,
        single=True,
        score=score,
        window=_as_extent("window", window),
        stride=_as_extent("stride", stride),
        name=name,
        reduce=reduce,
        chunk=chunk,
    )


def _as_extent(argument, extent):
    if extent is None:
        return None
    try:
        sides = tuple(None if n is None else operator.index(n) for n in extent)
    except TypeError:
        sides = ()
    if len(sides) != 3 or any(n is not None and n < 1 for n in sides):
        raise ValueError(
            f"`{argument}` must be (frames, rows, columns), integers of at least 1 or "
            f"None, got {extent!r}."
        )
    return sides


def _occlusion(f, clip, target, value, *, score, window, stride, name, reduce, chunk):
    shape = clip.shape[:3]
    sides = _sides(window, shape)
    starts = [
        jnp.asarray(_starts(*axis))
        for axis in zip(shape, sides, _steps(stride, sides), strict=True)
    ]
    s = bind(f, clip, target, score)
    show = hiding(name, value, clip)
    covers = [  # [voxels, positions] of every axis.
        (jnp.arange(size, dtype=jnp.int32)[:, None] >= at[None])
        & (jnp.arange(size, dtype=jnp.int32)[:, None] < at[None] + side)
        for size, side, at in zip(shape, sides, starts, strict=True)
    ]
    counts = [at.size for at in starts]

    def hidden(index):
        places = jnp.unravel_index(index, counts)
        t, y, x = (cover[:, place] for cover, place in zip(covers, places, strict=True))
        inside = t[:, None, None] & y[None, :, None] & x[None, None]
        return s(show(~inside))

    scores = each(hidden, math.prod(counts), chunk=chunk)
    drops = (s(clip) - scores).reshape(counts)
    painted = drops
    for axis, cover in enumerate(covers):
        weights = cover.astype(drops.dtype)
        if reduce == "mean":
            weights = weights / weights.sum(1, keepdims=True)
        painted = jnp.tensordot(
            weights, painted, (1, axis), precision=jax.lax.Precision.HIGHEST
        )
        painted = jnp.moveaxis(painted, 0, axis)
    return Occlusion(painted, drops, tuple(starts))


def _sides(window, shape):
    if window is None:
        window = (
            max(1, round(shape[0] / 4)),
            max(1, round(shape[1] / 7)),
            max(1, round(shape[2] / 7)),
        )
    sides = tuple(n or size for n, size in zip(window, shape, strict=True))
    if any(side > size for side, size in zip(sides, shape, strict=True)):
        raise ValueError(f"`window` {window} is larger than a clip of {shape}.")
    return sides


def _steps(stride, sides):
    if stride is None:
        return tuple((side + 1) // 2 for side in sides)
    steps = tuple(n or side for n, side in zip(stride, sides, strict=True))
    if any(step > side for step, side in zip(steps, sides, strict=True)):
        raise ValueError(
            f"`stride` {stride} leaves gaps between windows of {sides}: it must be at "
            "most the window."
        )
    return steps


def _starts(size, side, step):
    starts = list(range(0, size - side + 1, step))
    if starts[-1] != size - side:
        starts.append(size - side)  # Aligned to the border.
    return np.array(starts, np.int32)
