"""I-GOS: mask optimisation along integrated gradients instead of gradients.

A gradient at the full clip says little about the clip with a large part hidden. I-GOS
descends on the mean of the score along the path on which the mask is faded in.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxattr._clip import wide
from jaxattr._score import Network, Score
from jaxattr.perturbation._geometry import mask_geometry
from jaxattr.perturbation._grid_mask import GridMask, between_cells, grid_mask
from jaxattr.perturbation._integrated_descent import (
    cells_of,
    descent,
    integrated_descent,
    path_mean,
)
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._operators import OPERATORS
from jaxattr.perturbation._reward import mask_cost
from jaxattr.perturbation._total_variation import total_variation


def igos(
    f: Network,
    *,
    grid: Sequence[int] | None = None,
    num_steps: int = 20,
    num_iterations: int = 15,
    sparsity: float = 1.0,
    smoothness: float = 20.0,
    noise: float = 0.2,
    step_size: float = 8.0,
    perturbation: str = "blur",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., GridMask]:
    r"""Finds a mask without which the target is lost, along integrated gradients.

    With :math:`\phi(k)` the clip that a mask :math:`k` shows and :math:`m` the mask of
    evidence, minimises :math:`\frac 1 S \sum_{j=1}^S s(\phi(\tfrac j S (1 - m)) +
    \epsilon_j) + \lambda_1 \overline{m} + \lambda_2 TV(m)` over the cells of
    :math:`m`, interpolated linearly. Each iteration steps along the gradient of all of
    it, as far as a backtracking line search allows, and cuts to [0, 1]. An empty mask
    says that no cell changes the score by its price.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      grid: cells (T', h, w); None takes all frames and at most 28 by 28.
      num_steps: :math:`S`, gradients per iteration, one after the other: memory does
        not grow with it.
      num_iterations: steps of the mask; each costs the line search 1 to 10 times
        `num_steps` forward passes besides.
      sparsity: :math:`\lambda_1`, of the mean over cells.
      smoothness: :math:`\lambda_2`, of the mean squared differences.
      noise: standard deviation of :math:`\epsilon`, network units; drawn anew in every
        iteration, the same for its line search. 0 needs no key.
      step_size: where the line search starts; divided by 5 until the loss falls by
        1e-4 of what the slope promises, or it is below 1e-5.
      perturbation: what hidden voxels become: "blur", ever more of it; "mean" or
        "fade", 0 in network units; "clip_mean" of their channel; "median" over time of
        their pixel; "noise" of their channel's mean and spread; "freeze", what was
        shown before.
      score: what should be lost; see `jaxattr.Score`. With "log_prob", -log(1 - p) is
        minimised.
      chunk: steps of the path computed side by side; changes memory and rounding.

    Returns:
      `explain(clip, target, *, key) -> GridMask`.

    Raises:
      ValueError: a setting out of range, an unknown `perturbation`; from `explain`, a
        missing key, a clip that is not one array [T, H, W, C].

    References:
      Qi, Khorram and Li, "Visualizing Deep Networks by Optimizing with Integrated
      Gradients", AAAI 2020, https://arxiv.org/abs/1905.00954. From code, constants of
      its second generation; cells in time are our reading. Deviations: "blur" leads
      through ever less blurred versions of the clip instead of mixing it with one;
      noise is drawn once per iteration, where the code draws it again for the line
      search.
    """
    return integrated_descent(
        _explain,
        f,
        grid=grid,
        num_steps=num_steps,
        num_iterations=num_iterations,
        sparsity=sparsity,
        smoothness=smoothness,
        noise=noise,
        step_size=step_size,
        perturbation=perturbation,
        score=score,
        chunk=chunk,
    )


def _explain(
    f,
    clip,
    target,
    numbers,
    *,
    grid,
    num_steps,
    num_iterations,
    num_trials,
    perturbation,
    score,
    chunk,
    key=None,
):
    dtype = wide(clip.dtype)
    numbers = jax.tree.map(lambda x: x.astype(dtype), numbers)
    shape = clip.shape[:3]
    show = OPERATORS[perturbation](clip.astype(dtype), mask_geometry(shape).blur)
    cost = mask_cost(f, clip, target, score, "delete")

    def objective(cells, iteration):
        reward = path_mean(
            cost,
            lambda level: lambda keep: show(level * keep),
            between_cells(cells, shape),
            num_steps=num_steps,
            noise=numbers.noise,
            key=None if key is None else jax.random.fold_in(key, iteration),
            chunk=chunk,
        ).astype(dtype)
        rough = total_variation(cells, norm="mean", exponent=2)
        regulariser = numbers.sparsity * cells.mean() + numbers.smoothness * rough
        return reward + regulariser, MaskHistory(reward, regulariser)

    state, history = optimise(
        objective,
        jnp.zeros(cells_of(grid, shape), dtype),
        descent(numbers.step_size, num_trials),
        lambda cells: jnp.clip(cells, 0, 1),
        num_iterations=num_iterations,
    )
    mask = between_cells(state.params, shape)
    return grid_mask(f, clip, target, score, show, mask, state.params, history)
