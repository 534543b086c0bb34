"""The drifting texture on which everything lies."""

import itertools

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._scene import (
    HEIGHT,
    MEAN,
    NUM_FRAMES,
    WIDTH,
    View,
    between,
    uniform,
)

NUM_DRAWS = 7

_OCTAVES = ((5, 0.16), (12, 0.12), (28, 0.08))  # Lattice points across, amplitude.
_DRIFT = 1.2  # Units per frame, at most, on each axis.


def texture(key: jax.Array, draws: jax.Array, view: View) -> jax.Array:
    """Periodic value noise [T, H, W, 3], mostly grey, around 0.45."""
    velocity = between(draws[0:2], -_DRIFT, _DRIFT)[None]
    begin = (draws[2:4] * HEIGHT)[None]
    moved = begin + jnp.arange(NUM_FRAMES, dtype=jnp.float32)[:, None] * velocity
    tint = between(draws[4:7], -0.06, 0.06)
    picture = (MEAN + tint)[None, None, None]
    sizes = [4 * points**2 for points, _ in _OCTAVES]
    values = uniform(key, -1.0, 1.0, (sum(sizes),))
    parts = jnp.split(values, list(itertools.accumulate(sizes))[:-1])
    for (points, amplitude), part in zip(_OCTAVES, parts):
        values = part.reshape(points, points, 4)
        lattice = 0.85 * values[..., :1] + 0.3 * values[..., 1:]
        rows = _interpolation(view.rows[:, :, 0], moved[:, 0], HEIGHT, points)
        columns = _interpolation(view.columns[:, 0, :], moved[:, 1], WIDTH, points)
        noise = jnp.einsum("tyi,txj,ijc->tyxc", rows, columns, lattice)
        picture = picture + amplitude * noise
    return picture


def _interpolation(
    places: jax.Array, offset: jax.Array, period: int, points: int
) -> jax.Array:
    """Weights [T, N, points] of a periodic lattice at `places` moved by `offset` [T].

    A product with a small matrix instead of a gather: far cheaper on a CPU. The smooth
    step keeps the lattice from showing as creases.
    """
    pixels = places[:, :, None] + offset[:, None, None]
    lattice = jnp.arange(points, dtype=jnp.float32)[None, None, :]
    gap = (pixels * (points / period) - lattice) % points
    near = jnp.clip(1 - jnp.minimum(gap, points - gap), 0.0, 1.0)
    return near * near * (3 - 2 * near)
