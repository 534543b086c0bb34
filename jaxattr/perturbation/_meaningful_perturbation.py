"""Meaningful perturbation: the smallest smooth part of a clip that decides.

Unlike in extremal perturbations the mask's size is a price, not a promise: its weight
against the score decides how much of the clip is covered.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxattr._clip import narrow, wide
from jaxattr._expectation import each
from jaxattr._explainer import explainer
from jaxattr._gaussian import blur_frames
from jaxattr._score import Network, Score
from jaxattr.perturbation._grid_mask import GridMask, between_cells, grid_mask
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._meaningful_presets import MeaningfulConfig, resolve
from jaxattr.perturbation._operators import OPERATORS
from jaxattr.perturbation._presets import check_choice
from jaxattr.perturbation._reward import VARIANTS, kept_score, mask_cost
from jaxattr.perturbation._total_variation import total_variation

_SIDE = 224  # Of the frames for which sizes in pixels are given.
_RADII = tuple(range(0, 175, 5))  # Of the discs to start from, pixels.
_DISC_BLUR = 10.0
_LEFT = 0.01  # Share of the largest disc's effect that the start may leave.


def meaningful_perturbation(
    f: Network,
    *,
    mode: str = "volume",
    preset: str | MeaningfulConfig = "fv2017",
    variant: str = "delete",
    perturbation: str = "blur",
    num_iterations: int | None = None,
    score: Score = "prob",
) -> Callable[..., GridMask]:
    r"""Finds a small, smooth mask that decides the score.

    Minimises :math:`s(x \text{ without } m) + \lambda_1 \|q\|_1 + \lambda_2 TV(q)` over
    the cells :math:`q \in [0, 1]` of a mask :math:`m`, the cells enlarged and blurred,
    with Adam and over random shifts of clip and substitute under the mask.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      mode: "volume", cells in space and time whose total variation counts in time too;
        "per_frame", only in space; "shared", one mask for all frames.
      preset: "fv2017", the authors' code; "mean_tv", the form of a popular
        re-implementation: means instead of sums, linear interpolation, no shifts, a
        start without mask; or a `jaxattr.perturbation.MeaningfulConfig`.
      variant: "delete" loses the target without the mask, "preserve" keeps it with the
        mask, "dual" both. The mask is 1 where the evidence is in all of them.
      perturbation: what hidden voxels become: "blur", ever more of it; "mean" or
        "fade", 0 in network units; "clip_mean" of their channel; "median" over time of
        their pixel; "noise" of their channel's mean and spread; "freeze", what was
        shown before.
      num_iterations: instead of the preset's; the disc to start from takes 35 forward
        passes more.
      score: what to lose or keep; see `jaxattr.Score`. With "log_prob", -log(1 - p) is
        minimised where the target should be lost.

    Returns:
      `explain(clip, target, *, key) -> GridMask`; without jitter no key is needed.

    Raises:
      ValueError: an unknown choice, a setting out of range; from `explain`, a missing
        key, a clip that is not one array [T, H, W, C].

    References:
      Fong and Vedaldi, "Interpretable Explanations of Black Boxes by Meaningful
      Perturbation", ICCV 2017, https://arxiv.org/abs/1704.03296. From code for one
      image; everything in time is our reading. Deviations: "blur" leads through ever
      less blurred versions of the clip instead of mixing it with one; no rounding of
      the mask to 8 bits; the total variation of "sum" has no floor at exponents of 2
      and more; "mean_tv" blurs by a Gaussian alone, without the median.
    """
    check_choice("mode", mode, ("volume", "per_frame", "shared"))
    check_choice("variant", variant, VARIANTS)
    check_choice("perturbation", perturbation, tuple(OPERATORS))
    config = resolve(preset, num_iterations)
    return explainer(
        _explain,
        f,
        _Numbers(config.sparsity, config.smoothness, config.learning_rate),
        random=config.jitter > 0,
        single=True,
        mode=mode,
        config=config,
        variant=variant,
        perturbation=perturbation,
        score=score,
    )


class _Numbers(NamedTuple):
    sparsity: Any
    smoothness: Any
    learning_rate: Any


def _explain(
    f, clip, target, numbers, *, mode, config, variant, perturbation, score, key=None
):
    dtype = wide(clip.dtype)
    numbers = jax.tree.map(lambda x: x.astype(dtype), numbers)
    shape = clip.shape[:3]
    scale = min(shape[1:]) / _SIDE
    frames = clip.astype(dtype)
    operator = OPERATORS[perturbation]
    show = operator(frames, config.blur * scale)
    cost = mask_cost(f, clip, target, score, variant)
    cells = _cells(shape, config, mode)
    shifted = _shifted(operator, frames, config, scale)

    def masked(grid):
        return _enlarge(grid, shape, cells, config, scale)

    def objective(grid, iteration):
        shown = show
        if shifted is not None:
            shown = shifted(jax.random.fold_in(key, iteration))
        reward = cost(shown, masked(grid)).astype(dtype)
        size = grid.sum() / _units(grid, config)
        rough = total_variation(
            grid,
            norm=config.norm,
            exponent=config.exponent,
            time_weight=0.0 if mode == "per_frame" else 1.0,
        )
        if config.norm == "sum":
            rough = rough / _units(grid, config)
        regulariser = numbers.sparsity * size + numbers.smoothness * rough
        return reward + regulariser, MaskHistory(reward, regulariser)

    if config.start == "disc":
        report = kept_score(f, clip, target, score)
        disc = _disc(lambda m: report(narrow(show(1 - m), clip)), shape, scale, dtype)
        centres = [_centres(n, cell) for n, cell in zip(shape, cells, strict=True)]
        start = disc[jnp.ix_(*centres)]
    else:
        sizes = [math.ceil(n / cell) for n, cell in zip(shape, cells, strict=True)]
        start = jnp.full(sizes, variant == "preserve", dtype)
    state, history = optimise(
        objective,
        start,
        optax.adam(numbers.learning_rate),
        lambda grid: jnp.clip(grid, 0, 1),
        num_iterations=config.num_iterations,
    )
    mask = masked(state.params)
    return grid_mask(f, clip, target, score, show, mask, state.params, history)


def _cells(shape, config, mode):
    """Frames, rows and columns of one cell."""
    side = max(1, round(config.cell * min(shape[1:]) / _SIDE))
    return shape[0] if mode == "shared" else config.cell_frames, side, side


def _centres(size, cell):
    index = jnp.arange(math.ceil(size / cell), dtype=jnp.int32)
    return jnp.minimum(cell * index + cell // 2, size - 1)


def _units(grid, config):
    """By what a sum over cells is divided."""
    return grid.size if config.norm == "mean" else grid.shape[0]


def _enlarge(grid, shape, cells, config, scale):
    """Cells to a mask [T, H, W]."""
    if config.upsampling == "linear":
        mask = between_cells(grid, shape)
    else:
        mask = grid
        for axis, (size, cell) in enumerate(zip(shape, cells, strict=True)):
            mask = jnp.repeat(mask, cell, axis)
            mask = jax.lax.slice_in_dim(mask, 0, size, axis=axis)
    blurred = blur_frames(mask[..., None], config.mask_blur * scale, edge="nearest")
    return blurred[..., 0]


def _shifted(operator, clip, config, scale):
    """Key -> `show(mask)` of the enlarged clip, shifted under the mask; or None.

    The mask stays where it is on the network's frame.
    """
    pixels = round(config.jitter * scale)
    if not pixels:
        return None
    num_frames, height, width, channels = clip.shape
    larger = (num_frames, height + pixels, width + pixels)
    show = operator(
        jax.image.resize(clip, (*larger, channels), "linear"), config.blur * scale
    )

    def shifted(key):
        y, x = jax.random.randint(key, (2,), 0, pixels)

        def shown(mask):
            mask = jax.lax.dynamic_update_slice(
                jnp.ones(larger, mask.dtype), mask, (jnp.zeros_like(y), y, x)
            )
            zero = jnp.zeros_like(y)
            return jax.lax.dynamic_slice(show(mask), (zero, y, x, zero), clip.shape)

        return shown

    return shifted


def _disc(lost, shape, scale, dtype):
    """The smallest disc [T, H, W] without which the score is gone."""
    _, height, width = shape
    y = jnp.arange(height, dtype=dtype) - (height - 1) / 2
    x = jnp.arange(width, dtype=dtype) - (width - 1) / 2
    distance = jnp.hypot(y[:, None], x[None])
    radii = scale * jnp.asarray(_RADII, dtype)

    def disc(i):
        # A radius of 0 is no disc, not the one pixel of an odd frame's centre.
        inside = (distance <= radii[i]) & (radii[i] > 0)
        inside = inside.astype(dtype)[None, ..., None]
        soft = blur_frames(inside, _DISC_BLUR * scale, edge="nearest")[..., 0]
        return jnp.broadcast_to(soft, shape)

    scores = each(lambda i: lost(disc(i)), len(_RADII))
    enough = scores - scores[-1] < _LEFT * (scores[0] - scores[-1])
    index = jnp.arange(len(_RADII), dtype=jnp.int32)
    return disc(jnp.where(enough, index, len(_RADII) - 1).min())
