"""The rules of layer-wise relevance propagation, for one affine layer.

A layer is `z_k = sum_j c_jk + b_k` with the contributions `c_jk = a_j w_jk`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


def stabilised(z: jax.Array, epsilon: float) -> jax.Array:
    """Moves z away from zero, which counts as positive."""
    return z + epsilon * jnp.where(z < 0, -1, 1).astype(z.dtype)


def divided(r: jax.Array, z: jax.Array) -> jax.Array:
    """Gives r / z, and 0 where z is 0."""
    return jnp.where(z == 0, 0, r / jnp.where(z == 0, 1, z))


class Epsilon(NamedTuple):
    """c / (z + epsilon sign z): noise cancels, whatever is weak fades.

    Attributes:
      epsilon: of the unit of z; 0 gives gradient times input in a ReLU network.
    """

    epsilon: float = 1e-6


class AlphaBeta(NamedTuple):
    """alpha times the positive less beta times the negative shares.

    Of contributions, whatever the sign of an input: a negative one with a negative
    weight excites. `Relevances.negative` tells how much of that there was.

    Attributes:
      alpha: 1 gives the z+ rule.
      beta: alpha - 1, so that relevance is kept.
    """

    alpha: float = 2.0
    beta: float = 1.0


class Gamma(NamedTuple):
    """Contributions of the sign of z count 1 + gamma times.

    Attributes:
      gamma: 0 is epsilon, infinity z+.
      epsilon: stabilises the denominator.
      textbook: positive weights count 1 + gamma times instead, whatever the sign of z:
        the same where no input is negative and z is positive, and meant for that.
    """

    gamma: float = 0.25
    epsilon: float = 1e-9
    textbook: bool = False


class Flat(NamedTuple):
    """The same to every input: for the first layer, where only the place matters."""


class Squared(NamedTuple):
    """By squared weights, whatever the input was (w^2): for inputs without bounds."""


class Bounded(NamedTuple):
    """For a first layer with inputs between bounds (z^B).

    Attributes:
      low: the least value that the input can have, one number for all channels.
      high: the greatest.
    """

    low: float
    high: float


LayerRule = Epsilon | AlphaBeta | Gamma | Flat | Squared | Bounded

NAMED: dict[str, LayerRule] = {
    "epsilon": Epsilon(),
    "z_plus": AlphaBeta(1.0, 0.0),
    "alpha_beta": AlphaBeta(),
    "gamma": Gamma(),
    "flat": Flat(),
    "w_squared": Squared(),
}
