"""Clips of which every segment is one player of a game that is written down."""

import itertools
import math

import jax.numpy as jnp
import numpy as np

SHAPE = (3, 4, 5, 2)


def labels(num, seed=0, shape=SHAPE[:3]):
    """Scattered labels, all of which occur."""
    rng = np.random.default_rng(seed)
    flat = np.arange(np.prod(shape)) % num
    return rng.permutation(flat).reshape(shape)


def network(segments, game):
    """`game(z)` of the segments that a clip of ones shows; hidden voxels are 0."""
    firsts = [np.argwhere(segments == n)[0] for n in np.unique(segments)]
    places = tuple(np.stack(firsts, 1))

    def f(x):
        return jnp.stack([game(x[..., 0][places]), x.sum()])

    return f


def shapley(game, num):
    """From the definition: mean marginal contribution over all orders, by sizes."""
    values = np.zeros(num)
    for n in range(num):
        others = [m for m in range(num) if m != n]
        for size in range(num):
            weight = 1 / (num * math.comb(num - 1, size))
            for chosen in itertools.combinations(others, size):
                z = np.zeros(num)
                z[list(chosen)] = 1
                without = float(game(jnp.asarray(z)))
                z[n] = 1
                values[n] += weight * (float(game(jnp.asarray(z))) - without)
    return values


def worked(z):
    """Of three players: their Shapley values are 4, 5 and -1."""
    return 1 + 2 * z[0] + 3 * z[1] + 4 * z[0] * z[1] - z[2]


def curved(z):
    """Of any number of players, with interactions of every order."""
    weight = jnp.sin(1.0 + jnp.arange(z.size, dtype=z.dtype) ** 2)
    return jnp.tanh((weight * z).sum()) + 0.5 * z[0] * z[1] * z[2]
