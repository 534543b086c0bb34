"""The machinery that extremal perturbations and STEP share.

*Parameterise, mask, perturb, score, objective, update, project*: grids become masks,
masks show parts of a clip, a score and two regularisers make the objective, and the
loop of `_mask_loop` improves it. Areas are one more batch axis.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, wide
from jaxattr._expectation import check_chunk
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, poison_of
from jaxattr.perturbation._area import area_count, area_term
from jaxattr.perturbation._core import core_term
from jaxattr.perturbation._geometry import MaskGeometry, mask_geometry
from jaxattr.perturbation._mask_generator import generate_mask
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._operators import OPERATORS
from jaxattr.perturbation._path_gradient import path_gradient
from jaxattr.perturbation._presets import check_choice, resolve
from jaxattr.perturbation._reward import VARIANTS, kept_score, mask_cost
from jaxattr.perturbation._several_areas import (
    check_areas,
    make_optimiser,
    over_areas,
    selection,
    tabulate,
)
from jaxattr.perturbation._warm_start import warm_start


class ExtremalMasks(NamedTuple):
    """Masks of several areas, and how far each does what it was made for.

    Attributes:
      values: [T, H, W] sum of the masks over areas, not blurred.
      masks: [A, T, H, W], about 0 to 1, 1 where the evidence is; as seen by the last
        forward pass.
      areas: [A] as asked for. They are shares of the canvas, which is larger than the
        frame by a margin, as published.
      kept: [A] probability of the target when the mask is shown (with a sigmoid or
        callable score, that score).
      area_reached: [A] mean of each mask, over the frames themselves.
      history: course of the optimisation, [A, num_iterations].
      geometry: the sizes used; static.
    """

    values: jax.Array
    masks: jax.Array
    areas: jax.Array
    kept: jax.Array
    area_reached: jax.Array
    history: MaskHistory
    geometry: MaskGeometry


def extremal(
    f: Network,
    areas: Any,
    *,
    core: bool,
    mode: str,
    variant: str,
    perturbation: str,
    preset: Any,
    num_iterations: int | None,
    ties: str | None,
    score: Score,
    chunk: int | None,
    cutoffs: tuple[float, float, float] = (math.inf,) * 3,
) -> Callable[..., ExtremalMasks]:
    """Checks the settings that the extremal methods share and binds them."""
    areas = check_areas(areas)
    check_chunk(chunk)
    check_choice("variant", variant, VARIANTS)
    check_choice("perturbation", perturbation, tuple(OPERATORS))
    config = resolve(preset, mode, num_iterations=num_iterations, ties=ties)
    sizes = ("step", "sigma", "blur", "core_frames", "core_size")
    choices = _Choices(
        mode=mode,
        variant=variant,
        perturbation=perturbation,
        optimiser=config.optimiser,
        ties=config.ties,
        core=core,
        core_shape=config.core_shape,
        tolerance=config.tolerance,
        cutoffs=cutoffs,
        warm_passes=config.warm_passes,
        sizes=tuple((name, getattr(config, name)) for name in sizes),
    )
    return explainer(
        _explain,
        f,
        tabulate(areas, config),
        random=config.ties == "shuffle",
        single=True,
        choices=choices,
        score=score,
        chunk=chunk,
    )


@dataclasses.dataclass(frozen=True)
class _Choices:
    """What selects code: static."""

    mode: str
    variant: str
    perturbation: str
    optimiser: str
    ties: str
    core: bool
    core_shape: str
    tolerance: float | None
    cutoffs: tuple[float, float, float]
    warm_passes: tuple[int, int]
    sizes: tuple[tuple[str, float | None], ...]


def _explain(f, clip, target, numbers, *, choices, score, chunk, key=None):
    dtype = wide(clip.dtype)
    numbers = numbers.cast(dtype)
    geometry = mask_geometry(clip.shape[:3], **dict(choices.sizes))
    shown = OPERATORS[choices.perturbation](clip.astype(dtype), geometry.blur)
    kept = kept_score(f, clip, target, score)
    optimiser = make_optimiser(
        choices.optimiser, numbers.schedule.learning_rate, choices.cutoffs
    )
    objective = functools.partial(
        _objective,
        cost=functools.partial(
            mask_cost(f, clip, target, score, choices.variant), shown
        ),
        geometry=geometry,
        choices=choices,
        numbers=numbers,
        key=key,
    )

    def optimise_mask(start, digits):
        state, history = optimise(
            functools.partial(objective, digits=digits),
            start,
            optimiser,
            lambda grid: jnp.clip(grid, 0, 1),
            num_iterations=numbers.schedule.area_weight.size,
            tolerance=choices.tolerance,
        )
        mask = geometry.crop(generate_mask(state.evaluated, geometry))
        return mask, kept(narrow(shown(mask), clip)), history

    shape = (geometry.num_frames, *geometry.grid)
    if numbers.warm_levels.size:
        keep = mask_cost(f, clip, target, score, "preserve")

        def gain(grid):
            return -keep(shown, geometry.crop(generate_mask(grid, geometry)))

        evidence = path_gradient(gain, shape, numbers.warm_levels)
        starts = jax.vmap(
            lambda digits: warm_start(
                evidence, digits, numbers.warm_values, choices.warm_passes
            )
        )(numbers.warm_digits)
    else:
        starts = jnp.ones((numbers.areas.size, *shape), dtype)
    masks, kept, history = over_areas(optimise_mask, (starts, numbers.digits), chunk)
    result = ExtremalMasks(
        values=masks.sum(0),
        masks=masks,
        areas=numbers.areas,
        kept=kept,
        area_reached=masks.mean((1, 2, 3)),
        history=history,
        geometry=geometry,
    )
    # A mask that has seen no gradient yet, or none at all, would look like an answer.
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda x: x * poison.astype(x.dtype), result)


def _objective(grid, iteration, *, digits, cost, geometry, choices, numbers, key):
    """One mask's objective at one iteration: (loss, its two parts)."""
    canvas = generate_mask(grid, geometry)
    reward = numbers.reward_weight * cost(geometry.crop(canvas)).astype(grid.dtype)
    area_key = core_key = None
    if choices.ties == "shuffle":
        area_key, core_key = jax.random.split(jax.random.fold_in(key, iteration))
    if choices.mode == "volume":
        count = area_count(digits, canvas.size)
        area = area_term(canvas, count, selection(area_key))
    else:
        count = area_count(digits, canvas[0].size)
        terms = jax.vmap(lambda frame: area_term(frame, count, selection(area_key)))
        area = terms(canvas).mean()
    regulariser = numbers.schedule.area_weight[iteration] * area
    if choices.core:
        core = core_term(
            canvas, count, geometry, selection(core_key), shape=choices.core_shape
        )
        regulariser = regulariser + numbers.schedule.core_weight[iteration] * core
    return reward + regulariser, MaskHistory(reward, regulariser)
