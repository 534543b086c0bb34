"""The gradient of a score along the path of uniform masks, from hidden to shown."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxattr._expectation import mean


def path_gradient(
    score: Callable[[jax.Array], jax.Array],
    shape: tuple[int, ...],
    levels: jax.Array,
    *,
    chunk: int | None = None,
) -> jax.Array:
    r"""Averages :math:`\partial s / \partial q` over uniform masks :math:`q = \alpha`.

    Args:
      score: mask or grid of a mask -> [].
      shape: of it, such as (T, h, w).
      levels: [N] values of :math:`\alpha`, in (0, 1).
      chunk: gradients computed side by side.

    Returns:
      [*shape], signed.
    """

    def gradient(i):
        return jax.grad(score)(jnp.full(shape, levels[i]))

    return mean(gradient, levels.size, chunk=chunk)
