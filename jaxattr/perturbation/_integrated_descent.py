"""Descent along integrated gradients: what `igos` and `igos_pp` share.

The objective is a mean over the path on which a mask is faded in, so that its gradient
is the integrated one and a line search sees what the gradient is of.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from jaxattr._expectation import check_chunk, check_count, mean
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score
from jaxattr.perturbation._operators import OPERATORS
from jaxattr.perturbation._presets import check_choice, check_weights

_CELLS = 28  # Per side of a frame, as published.
_DECREASE, _SLOPE, _SMALLEST = 0.2, 1e-4, 1e-5  # Of the line search.


class IntegratedNumbers(NamedTuple):
    """Settings that are traced; see `igos`."""

    sparsity: Any
    smoothness: Any
    noise: Any
    step_size: Any


def integrated_descent(
    core: Callable[..., Any],
    f: Network,
    *,
    grid: Sequence[int] | None,
    num_steps: int,
    num_iterations: int,
    sparsity: float,
    smoothness: float,
    noise: float,
    step_size: float,
    perturbation: str,
    score: Score,
    chunk: int | None,
) -> Callable[..., Any]:
    """Checks the settings that both methods share and binds them to a core."""
    check_count("num_steps", num_steps)
    check_count("num_iterations", num_iterations)
    check_chunk(chunk)
    check_choice("perturbation", perturbation, tuple(OPERATORS))
    check_weights(sparsity=sparsity, smoothness=smoothness, noise=noise)
    check_weights(step_size=step_size)
    trials = math.log(max(step_size, _SMALLEST) / _SMALLEST, 1 / _DECREASE)
    return explainer(
        core,
        f,
        IntegratedNumbers(sparsity, smoothness, noise, step_size),
        random=noise > 0,
        single=True,
        grid=_check_grid(grid),
        num_steps=num_steps,
        num_iterations=num_iterations,
        num_trials=math.ceil(trials),
        perturbation=perturbation,
        score=score,
        chunk=chunk,
    )


def path_mean(
    cost: Callable[[Callable[[jax.Array], jax.Array], jax.Array], jax.Array],
    fade: Callable[[jax.Array], Callable[[jax.Array], jax.Array]],
    mask: jax.Array,
    *,
    num_steps: int,
    noise: jax.Array,
    key: jax.Array | None,
    chunk: int | None,
) -> jax.Array:
    """Averages the cost of a mask over levels 1/S, 2/S, ..., 1 of its path.

    Args:
      cost: `cost(show, mask) -> []`, from `mask_cost`.
      fade: level -> `show(mask) -> [T, H, W, C]`.
      mask: [T, H, W].
      num_steps: S.
      noise: standard deviation of what is added to every clip shown.
      key: of that; None adds nothing.
      chunk: levels computed side by side.
    """

    @jax.checkpoint  # Of each step only the mask is kept for the way back.
    def step(i, mask):
        show = fade((i + 1).astype(mask.dtype) / num_steps)

        def noisy(mask):
            shown = show(mask)
            if key is None:
                return shown
            drawn = jax.random.fold_in(key, i)
            return shown + noise * jax.random.normal(drawn, shown.shape, shown.dtype)

        return cost(noisy, mask)

    return mean(lambda i: step(i, mask), num_steps, chunk=chunk)


def descent(step_size: jax.Array, num_trials: int) -> optax.GradientTransformation:
    """Gradient descent with a line search that starts anew from the largest step."""
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=num_trials,
        slope_rtol=_SLOPE,
        decrease_factor=_DECREASE,
        increase_factor=math.inf,
        max_learning_rate=step_size,
    )
    return optax.chain(optax.scale(-1.0), search)


def cells_of(
    grid: tuple[int, int, int] | None, shape: tuple[int, int, int]
) -> tuple[int, int, int]:
    """The cells asked for, or those of a clip: all frames, at most 28 by 28."""
    return grid or (shape[0], min(_CELLS, shape[1]), min(_CELLS, shape[2]))


def _check_grid(grid):
    if grid is None:
        return None
    try:
        num_frames, rows, columns = grid
    except (TypeError, ValueError):
        raise ValueError(
            f"`grid` must be three numbers of cells (T', h, w), got {grid!r}."
        ) from None
    for cells in (num_frames, rows, columns):
        check_count("grid", cells)
    return num_frames, rows, columns
