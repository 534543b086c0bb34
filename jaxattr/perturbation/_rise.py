"""RISE: the score under random masks says where the evidence is, without a gradient."""

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import wide
from jaxattr._comoments import comoments
from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._resize import to_clip
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute
from jaxattr.perturbation._hiding import BY_VOXEL, hiding
from jaxattr.program import Axis


class RandomMasks(NamedTuple):
    """What random masks say of every voxel, and how well.

    Attributes:
      values: [T, H, W], in units of the score; signed when centred.
      standard_error: [T, H, W] of `values` over the draw of masks.
      num_masks: [] int32 masks drawn; fewer than asked for where `tolerance` was met.
    """

    values: jax.Array
    standard_error: jax.Array
    num_masks: jax.Array


def rise(
    f: Network,
    *,
    num_masks: int = 4000,
    grid: tuple[int, int, int] = (4, 7, 7),
    keep: float = 0.5,
    substitute: Any = "mean",
    center: bool = True,
    score: Score = "prob",
    chunk: int | None = None,
    tolerance: float | None = None,
) -> Callable[..., RandomMasks]:
    r"""Attributes the score to voxels through random masks in space and time.

    Mask :math:`M_k` has a Bernoulli(`keep`) number for every cell of a coarse grid,
    interpolated linearly and shifted at random; :math:`f_k` is the score of
    :math:`x \odot M_k + b \odot (1 - M_k)`, :math:`b` the substitute. With bars for
    means over the N masks drawn, every voxel gets

    .. math:: S = \frac{\sum_k (f_k - \bar f)(M_k - \bar M)}{\sum_k (M_k - \bar M)^2},

    the slope of the score on the mask's value there: what showing the voxel adds, its
    neighbours' being shown with it included. All moments are those of the masks that
    were drawn (the sample variance of M at that voxel, not keep (1 - keep), which
    interpolation does not leave; the sample means, not keep). In expectation it is 0
    where the network looks at nothing, and adding a constant to the score changes
    nothing. A voxel whose mask never changed gets 0, with an infinite error.

    `center=False` is the published :math:`\frac{1}{N p} \sum_k f_k M_k`, p = `keep`:
    the mean score of masks that show the voxel, with a large constant part and the
    noise of :math:`\sum_k M_k`.

    Its error, :math:`O(N^{-1/2})`, is in `standard_error`: of the least-squares slope,
    the scatter around the line taken to be the same along it; of the published form,
    the sample standard deviation of :math:`f_k M_k / p` over :math:`\sqrt N`.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; evaluated once for each mask,
        never differentiated.
      num_masks: N, at least 3; time grows with it, memory does not.
      grid: cells in time, height and width. A side of as many cells as voxels is not
        interpolated: (T, h, w) masks frames independently; (1, h, w) gives one map for
        all frames, (t, 1, 1) one number for each.
      keep: probability that a cell is shown, in (0, 1). With 0.1 the clip looks empty.
      substitute: what hidden voxels become: "mean" (0 in network units), "clip_mean",
        "blur", "median" (over time), "noise", "freeze" (what was shown before),
        "black" or an array.
      center: the slope instead of the published sum.
      score: what to explain; see `jaxattr.Score`.
      chunk: masks evaluated side by side; changes memory and rounding.
      tolerance: stop, asked after about every 100 masks, once the largest standard
        error is at most this share of the map's range; None draws all. Under `vmap`
        all clips take as long as the slowest.

    Returns:
      `explain(clip, target, *, key) -> RandomMasks`. No direction is cut off: raw.

    Raises:
      ValueError: a bad count, grid, probability or tolerance; from `explain`, a missing
        key, more cells than voxels, a clip that is not one array [T, H, W, C].

    References:
      Petsiuk, Das and Saenko, "RISE", BMVC 2018, https://arxiv.org/abs/1806.07421; in
      space and time: Gaya-Morey et al., "REVEX", 2024,
      https://arxiv.org/abs/2401.11796. Deviations, our reading: the centred slope;
      cells in time; beyond the outermost centres of cells the mask is constant.
    """
    check_count("num_masks", num_masks)
    if num_masks < 3:
        raise ValueError(f"`num_masks` must be at least 3, got {num_masks}.")
    check_chunk(chunk)
    if not (isinstance(keep, numbers.Real) and 0 < keep < 1):
        raise ValueError(f"`keep` must be a probability in (0, 1), got {keep!r}.")
    if tolerance is not None and not (
        isinstance(tolerance, numbers.Real) and tolerance >= 0
    ):
        raise ValueError(
            f"`tolerance` must be None or a share of at least 0, got {tolerance!r}."
        )
    if not isinstance(center, (bool, np.bool_)):
        raise ValueError(f"`center` must be True or False, got {center!r}.")
    name, value = check_substitute(substitute, f, BY_VOXEL)
    return explainer(
        _rise,
        f,
        keep,
        value,
        math.inf if tolerance is None else tolerance,
        random=True,
        single=True,
        score=score,
        name=name,
        num_masks=num_masks,
        grid=_as_grid(grid),
        center=bool(center),
        chunk=chunk,
        stops=tolerance is not None,
    )


def _as_grid(grid):
    try:
        cells = tuple(map(operator.index, grid))
    except TypeError:
        cells = ()
    if len(cells) != 3 or min(cells) < 1:
        raise ValueError(
            "`grid` must be three counts of cells, (time, height, width), got "
            f"{grid!r}."
        )
    return cells


def _rise(
    f,
    clip,
    target,
    keep,
    value,
    tolerance,
    *,
    key,
    score,
    name,
    num_masks,
    grid,
    center,
    chunk,
    stops,
):
    shape = clip.shape[:3]
    if any(cells > size for cells, size in zip(grid, shape)):
        raise ValueError(
            f"`grid` {grid} has more cells than the clip has voxels, {shape}."
        )
    s = bind(f, clip, target, score)
    show = hiding(name, value, clip)
    keep = keep.astype(wide(clip.dtype))

    def sample(index):
        mask = _mask(jax.random.fold_in(key, index), shape, grid, keep)
        scored = s(show(mask))
        mask = mask.astype(jnp.promote_types(mask.dtype, scored.dtype))
        return scored, mask if center else scored.astype(mask.dtype) * mask

    statistic = _slope if center else _mean_over(keep)

    def enough(found):
        values, error = statistic(found)
        return error.max() <= tolerance.astype(error.dtype) * jnp.ptp(values)

    found = comoments(sample, num_masks, chunk=chunk, enough=enough if stops else None)
    return RandomMasks(*statistic(found), found.count)


def _slope(found):
    """Least squares of the score on the mask's value at every voxel, and its error."""
    spread = found.variance[1]
    scatter = found.variance[0].astype(spread.dtype)
    moved = spread > 0
    slope = jnp.where(moved, found.covariance / jnp.where(moved, spread, 1), 0)
    # A NaN of the score must not end at a voxel whose mask happened to stand still.
    slope = slope + 0 * scatter
    count = found.count.astype(spread.dtype)
    rest = (scatter - slope**2 * spread) * (count - 1)
    error = jnp.sqrt(jnp.maximum(rest, 0) / jnp.maximum(count - 2, 1) / (count - 1))
    return slope, jnp.where(
        moved, error / jnp.sqrt(jnp.where(moved, spread, 1)), jnp.inf
    )


def _mean_over(keep):
    def statistic(found):
        values, spread = found.mean[1], found.variance[1]
        p = keep.astype(values.dtype)
        return values / p, jnp.sqrt(spread / found.count.astype(p.dtype)) / p

    return statistic


def _mask(key, shape, grid, keep):
    """Cells shown or hidden, interpolated and shifted, [T, H, W] in 0..1.

    g cells are stretched over g + 1 times their length C, of which a window is taken
    that starts at a random one of the first C voxels.
    """
    k_cells, k_shift = jax.random.split(key)
    cells = jax.random.bernoulli(k_cells, keep, grid).astype(keep.dtype)
    axes = []
    for i, (size, count) in enumerate(zip(shape, grid)):
        length = math.ceil(size / count)
        shift = jax.random.randint(jax.random.fold_in(k_shift, i), (), 0, length)
        stride = (count + 1) * length / count
        axis = Axis(i, stride, (stride - 1) / 2 - shift.astype(keep.dtype))
        axes.append(Axis(i) if count == size else axis)
    return to_clip(cells, shape, axes)
