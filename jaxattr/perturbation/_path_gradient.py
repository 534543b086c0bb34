"""The gradient of a score along the path of uniform masks, from hidden to shown."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxattr._expectation import mean


def path_gradient(
    score: Callable[[jax.Array], jax.Array],
    shape: tuple[int, int, int],
    levels: jax.Array,
    *,
    chunk: int | None = None,
) -> jax.Array:
    r"""Averages :math:`\partial s / \partial q` over uniform grids :math:`q = \alpha`.

    Args:
      score: mask grid [T, h, w] -> [].
      shape: (T, h, w).
      levels: [N] values of :math:`\alpha`, in (0, 1).
      chunk: gradients computed side by side.

    Returns:
      [T, h, w], signed.
    """

    def gradient(i):
        return jax.grad(score)(jnp.full(shape, levels[i]))

    return mean(gradient, levels.size, chunk=chunk)
