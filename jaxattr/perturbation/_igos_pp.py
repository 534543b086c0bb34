"""iGOS++: two masks along integrated gradients, one that deletes and one that inserts.

What is deleted alone may be anything that confuses the network. Here a second mask has
to bring the target back by what it shows, and their product is the explanation.
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

_EDGE = 0.01  # Squared change of brightness, network units, at which masks may end.


def igos_pp(
    f: Network,
    *,
    grid: Sequence[int] | None = None,
    num_steps: int = 20,
    num_iterations: int = 15,
    sparsity: float = 1.0,
    smoothness: float = 20.0,
    noise: float = 0.2,
    step_size: float = 1000.0,
    perturbation: str = "blur",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., GridMask]:
    r"""Finds a mask that deletes and inserts the target, along integrated gradients.

    With masks of evidence :math:`d, i` and :math:`P = 1 - (1 - d)(1 - i)`, minimises
    :math:`\frac 1 2 (D(P) + D(d) - I(P) - I(i)) + \lambda_1 \overline P + \lambda_2
    B(P)`. :math:`D(m)` and :math:`I(m)` are means of the score of the clip shown by
    :math:`\alpha (1 - m)` and by :math:`1 - \alpha (1 - m)`, over levels
    :math:`\alpha`. The variation :math:`B` is half that of the cells and half that of
    the pixels, there weighed by :math:`\exp(-\Delta^2 / 0.01)` where brightness
    changes by :math:`\Delta`, in time as well: masks may end at edges and at cuts.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      grid: cells (T', h, w); None takes all frames and at most 28 by 28.
      num_steps: levels, of four gradients each per iteration.
      num_iterations: steps of both masks.
      sparsity: :math:`\lambda_1`, of the mean over cells.
      smoothness: :math:`\lambda_2`.
      noise: standard deviation of what is added along the path; 0 needs no key.
      step_size: where the line search starts; see `igos`.
      perturbation: what hidden voxels become; see `igos`.
      score: what should be lost and brought back; see `jaxattr.Score`.
      chunk: levels computed side by side; changes memory and rounding.

    Returns:
      `explain(clip, target, *, key) -> GridMask`, of :math:`P`.

    Raises:
      ValueError: as `igos`.

    References:
      Khorram, Lawson and Li, "iGOS++: Integrated Gradient Optimized Saliency by
      Bilateral Perturbations", CHIL 2021, https://arxiv.org/abs/2012.15783. From code;
      time is our reading. Deviations: those of `igos`; the edge weight takes the mean
      of channels first, on every axis; the line search has the factor 1/2 that the
      gradient has.
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
    frames = clip.astype(dtype)
    show = OPERATORS[perturbation](frames, mask_geometry(shape).blur)
    fades = {  # `mask_cost` asks to show 1 - mask for deletion, the mask for insertion.
        "delete": lambda level: lambda keep: show(level * keep),
        "preserve": lambda level: lambda mask: show(1 - level * (1 - mask)),
    }

    def path(variant, masks, iteration):
        cost = mask_cost(f, clip, target, score, variant)
        drawn = None if key is None else jax.random.fold_in(key, iteration)

        def one(mask):
            return path_mean(
                cost,
                fades[variant],
                mask,
                num_steps=num_steps,
                noise=numbers.noise,
                key=drawn,
                chunk=chunk,
            )

        return jax.vmap(one)(jnp.stack(masks)).sum().astype(dtype)

    def objective(cells, iteration):
        product = _product(cells)
        masks = [between_cells(c, shape) for c in (product, *cells)]
        reward = 0.5 * path("delete", [masks[0], masks[1]], iteration)
        reward = reward + 0.5 * path("preserve", [masks[0], masks[2]], iteration)
        rough = bilateral_variation(product, masks[0], frames)
        regulariser = numbers.sparsity * product.mean() + numbers.smoothness * rough
        return reward + regulariser, MaskHistory(reward, regulariser)

    state, history = optimise(
        objective,
        jnp.zeros((2, *cells_of(grid, shape)), dtype),
        descent(numbers.step_size, num_trials),
        lambda cells: jnp.clip(cells, 0, 1),
        num_iterations=num_iterations,
    )
    cells = _product(state.params)
    mask = between_cells(cells, shape)
    return grid_mask(f, clip, target, score, show, mask, cells, history)


def _product(cells):
    """The evidence of keep-masks multiplied."""
    return 1 - (1 - cells[0]) * (1 - cells[1])


def bilateral_variation(
    cells: jax.Array, mask: jax.Array, clip: jax.Array
) -> jax.Array:
    """Half the variation of the cells, half that of the mask away from edges, [].

    Args:
      cells: [T', h, w].
      mask: [T, H, W], made of them.
      clip: [T, H, W, C].
    """
    brightness = clip.mean(-1)
    total = jnp.zeros((), mask.dtype)
    for axis in range(3):
        step = jnp.diff(mask, axis=axis)
        if step.size:
            edge = jnp.exp(-(jnp.diff(brightness, axis=axis) ** 2) / _EDGE)
            total = total + (edge * step**2).mean()
    return 0.5 * (total_variation(cells, norm="mean", exponent=2) + total)
