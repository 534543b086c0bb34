"""Gradient transformations for masks that optax does not have."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class DampedMomentumState(NamedTuple):
    """State of `scale_by_damped_momentum`.

    Attributes:
      buffer: like the parameters.
      count: [] updates so far.
    """

    buffer: Any
    count: jax.Array


def scale_by_damped_momentum(
    momentum: float = 0.9, dampening: float = 0.9
) -> optax.GradientTransformation:
    r"""Momentum whose new gradients are damped, as PyTorch's SGD has it.

    :math:`b_0 = g_0`, undamped; later :math:`b_t = \mu b_{t-1} + (1 - \tau) g_t`. The
    first step is thus ten times that of a plain moving average.

    Args:
      momentum: :math:`\mu`.
      dampening: :math:`\tau`.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return DampedMomentumState(zeros, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        first = state.count == 0
        buffer = jax.tree.map(
            lambda b, g: jnp.where(first, g, momentum * b + (1 - dampening) * g),
            state.buffer,
            updates,
        )
        return buffer, DampedMomentumState(buffer, state.count + 1)

    return optax.GradientTransformation(init, update)


class SharedAdamState(NamedTuple):
    """State of `scale_by_shared_adam`.

    Attributes:
      first: mean gradient, like the parameters.
      second: mean squared gradient, one number per array.
      count: [] updates so far.
    """

    first: Any
    second: Any
    count: jax.Array


def scale_by_shared_adam(
    b1: float = 0.9, b2: float = 0.99, eps: float = 1e-12
) -> optax.GradientTransformation:
    """Adam with one second moment per array instead of one per entry.

    Steps keep the shape of the gradient and lose its scale, so that one learning rate
    serves all networks, scores and areas. Adam's own scaling lifts cells without any
    gradient to full speed, and so erases evidence before it is found.

    Args:
      b1: decay of the mean gradient.
      b2: decay of the mean squared gradient.
      eps: added to its root; only guards a gradient that is exactly zero.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params)
        second = jax.tree.map(lambda p: jnp.zeros((), p.dtype), params)
        return SharedAdamState(zeros, second, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        count = state.count + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.first, updates)
        second = jax.tree.map(
            lambda v, g: b2 * v + (1 - b2) * (g**2).mean(), state.second, updates
        )

        def scaled(m, v):
            time = count.astype(m.dtype)
            return m / (1 - b1**time) / (jnp.sqrt(v / (1 - b2**time)) + eps)

        return jax.tree.map(scaled, first, second), SharedAdamState(
            first, second, count
        )

    return optax.GradientTransformation(init, update)


def scale_by_largest() -> optax.GradientTransformation:
    """Divides every array by its largest magnitude; zeros stay zeros.

    With learning rate r no entry then moves by more than r, and one does by just that.
    """

    def update(updates, params=None):
        del params

        def scaled(g):
            largest = jnp.abs(g).max()
            return g / jnp.where(largest > 0, largest, 1)

        return jax.tree.map(scaled, updates)

    return optax.stateless(update)


def low_pass(cutoffs: Sequence[float]) -> optax.GradientTransformation:
    r"""Attenuates the fast changes of gradients along each axis.

    Multiplies coefficient :math:`k` of the orthonormal cosine transform (DCT-II) along
    an axis of :math:`N` entries by :math:`\exp(-\frac 1 2 (k / (N \rho))^2)`.

    Args:
      cutoffs: :math:`\rho` of every axis of the parameters; infinity leaves an axis
        alone.
    """

    def filtered(gradient):
        for axis, cutoff in enumerate(cutoffs):
            if cutoff < math.inf:
                weights = _smoother(gradient.shape[axis], cutoff)
                weights = jnp.asarray(weights, gradient.dtype)
                gradient = jnp.tensordot(
                    weights, gradient, (1, axis), precision="highest"
                )
                gradient = jnp.moveaxis(gradient, 0, axis)
        return gradient

    return optax.stateless(lambda updates, params: jax.tree.map(filtered, updates))


def _smoother(size, cutoff):
    """There, attenuated, and back again, [size, size]."""
    index = np.arange(size)
    cosines = np.cos(np.pi * (index + 0.5) * index[:, None] / size)
    cosines *= np.where(index == 0, 1, np.sqrt(2))[:, None] / np.sqrt(size)
    kept = np.exp(-0.5 * (index / (size * cutoff)) ** 2)
    return cosines.T @ (kept[:, None] * cosines)
