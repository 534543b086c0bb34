"""Mask path gradient: which cells of a mask raise the score as the clip is revealed.

The path of integrated gradients, but through what a mask shows: from the blurred clip
to the clip itself, with respect to the cells of a mask instead of voxels. A handful of
gradients give the map that `jaxattr.step` starts from.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import narrow, wide
from jaxattr._expectation import check_chunk
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr.perturbation._geometry import MaskGeometry, mask_geometry
from jaxattr.perturbation._mask_generator import generate_mask
from jaxattr.perturbation._operators import OPERATORS
from jaxattr.perturbation._path_gradient import path_gradient
from jaxattr.perturbation._presets import check_choice


class MaskPathGradient(NamedTuple):
    """Attribution to the cells of a mask, and how far it is from being complete.

    Attributes:
      values: [T, H, W] signed, `grid` interpolated linearly between the cells' centres;
        in units of the score per cell.
      grid: [T, h, w] signed attribution of the cells.
      residual: [] change in score from an all-zero to an all-one grid that `grid` fails
        to account for.
      geometry: where the cells lie; static.
    """

    values: jax.Array
    grid: jax.Array
    residual: jax.Array
    geometry: MaskGeometry


def mask_path_gradient(
    f: Network,
    *,
    levels: Sequence[float] = (0.15, 0.3, 0.5, 0.7, 0.9),
    perturbation: str = "blur",
    score: Score = "log_prob",
    chunk: int | None = None,
) -> Callable[..., MaskPathGradient]:
    r"""Attributes the score of a clip to the cells of a mask that reveals it.

    With :math:`x(q)` the clip as shown by the mask of grid :math:`q`, cell :math:`i`
    gets :math:`\frac 1 N \sum_\alpha \partial_i s(x(q)) |_{q \equiv \alpha}`. Over all
    :math:`\alpha` in (0, 1) these add up to :math:`s(x(1)) - s(x(0))`; the few levels
    used here are a rough quadrature, `residual` says how rough.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      levels: values of :math:`\alpha`, each in (0, 1); one gradient evaluation each.
      perturbation: what hidden voxels become: "blur", ever more of it; "mean" or
        "fade", 0 in network units; "clip_mean" of their channel; "median" over time of
        their pixel; "noise" of their channel's mean and spread; "freeze", what was
        shown before.
      score: what to explain; see `jaxattr.Score`.
      chunk: gradients computed side by side; changes memory, never the result.

    Returns:
      `explain(clip, target) -> MaskPathGradient`.

    Raises:
      ValueError: levels empty or outside (0, 1), an unknown `perturbation`; from
        `explain`, a clip that is not one array [T, H, W, C].

    References:
      Ours; it combines the path of Sundararajan, Taly and Yan (ICML 2017,
      https://arxiv.org/abs/1703.01365) with the masks of Fong, Patrick and Vedaldi
      (ICCV 2019, https://arxiv.org/abs/1910.08485).
      Our reading.
    """
    values = np.asarray(levels, np.float64)
    if values.ndim != 1 or not values.size or not ((values > 0) & (values < 1)).all():
        raise ValueError(
            f"`levels` must be a non-empty sequence inside (0, 1), got {levels!r}."
        )
    check_choice("perturbation", perturbation, tuple(OPERATORS))
    check_chunk(chunk)
    return explainer(
        _attribute,
        f,
        values,
        single=True,
        perturbation=perturbation,
        score=score,
        chunk=chunk,
    )


def _attribute(f, clip, target, levels, *, perturbation, score, chunk):
    dtype = wide(clip.dtype)
    s = bind(f, clip, target, score)
    geometry = mask_geometry(clip.shape[:3])
    shape = (geometry.num_frames, *geometry.grid)
    shown = OPERATORS[perturbation](clip.astype(dtype), geometry.blur)

    def score_of(grid):
        mask = geometry.crop(generate_mask(grid, geometry))
        return s(narrow(shown(mask), clip))

    grid = path_gradient(score_of, shape, levels.astype(dtype), chunk=chunk)
    change = score_of(jnp.ones(shape, dtype)) - score_of(jnp.zeros(shape, dtype))
    return MaskPathGradient(
        values=_between_cells(grid, geometry),
        grid=grid,
        residual=change.astype(grid.dtype) - grid.sum(),
        geometry=geometry,
    )


def _between_cells(grid, geometry):
    """Linear interpolation; beyond the last cell, its value."""

    def weights(cells, size):
        place = jnp.arange(size, dtype=grid.dtype)[:, None] / geometry.step
        place = jnp.minimum(place, cells - 1)
        centre = jnp.arange(cells, dtype=grid.dtype)[None]
        return jnp.maximum(1 - jnp.abs(place - centre), 0)

    rows = weights(geometry.grid[0], geometry.height)
    columns = weights(geometry.grid[1], geometry.width)
    return jnp.einsum("yi,tij,xj->tyx", rows, grid, columns, precision="highest")
