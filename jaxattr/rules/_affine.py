"""An affine layer, in one equation or in several, that propagates relevance.

A convolution, its bias and its batch norm are one layer to a rule, though they are five
equations. The value of the first is known again, as the very object, when the next adds
or multiplies something that does not depend on the clip; each result is then written as
a function of the layer's own input, and what lies between is dead code.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.rules._lrp_rules import (
    Bounded,
    Epsilon,
    Flat,
    LayerRule,
    Squared,
    Totals,
    divided,
    stabilised,
)

Operation = Callable[[jax.Array, jax.Array], jax.Array]


class Affine(NamedTuple):
    """z = scale * sum over terms of operation(x, weights) + shift.

    Attributes:
      operations: linear in either argument, one for each term.
      xs: inputs of the terms.
      weights: of the terms.
      scale: broadcasts to z.
      shift: likewise.
      rule: by which relevance propagates.
      joins: whether its sum with another such layer is one layer: matrix products, as
        in the pre-activation of a recurrent cell, not yet scaled.
    """

    operations: tuple[Operation, ...]
    xs: tuple[jax.Array, ...]
    weights: tuple[jax.Array, ...]
    scale: jax.Array
    shift: jax.Array
    rule: LayerRule
    joins: bool

    def value(self) -> jax.Array:
        """z, whose cotangent is relevance."""
        arrays = (self.xs, self.weights, self.scale, self.shift)
        return _affine(self.operations, self.rule, *arrays)

    def times(self, factor: jax.Array) -> "Affine":
        """After a multiplication by what does not depend on the clip."""
        scale, shift = self.scale * factor, self.shift * factor
        return self._replace(scale=scale, shift=shift, joins=False)

    def moved(self, move: Callable[[jax.Array], jax.Array], shape) -> "Affine":
        """After its cells have been put into another order or shape."""

        def after(operation):
            return lambda x, weights: move(operation(x, weights))

        scale, shift = (
            v if v.ndim == 0 else move(jnp.broadcast_to(v, shape))
            for v in (self.scale, self.shift)
        )
        operations = tuple(map(after, self.operations))
        return self._replace(operations=operations, scale=scale, shift=shift)

    def plus(self, term: jax.Array) -> "Affine":
        """After adding what does not depend on the clip."""
        return self._replace(shift=self.shift + term)


def joined(a: Affine, b: Affine) -> Affine:
    """The sum of two layers that join."""
    return a._replace(
        operations=a.operations + b.operations,
        xs=a.xs + b.xs,
        weights=a.weights + b.weights,
        shift=a.shift + b.shift,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _affine(operations, rule, xs, weights, scale, shift):
    return _value(operations, xs, weights, scale, shift)


def _forward(operations, rule, *given):
    # Not `_affine` itself: this is differentiated where an explanation is.
    return _value(operations, *given), given


def _backward(operations, rule, given, r):
    xs, weights, scale, shift = given
    send = _SPECIAL.get(type(rule), _by_contributions)
    relevance = send(operations, rule, xs, weights, scale, shift, r)
    return relevance, *jax.tree.map(jnp.zeros_like, (weights, scale, shift))


_affine.defvjp(_forward, _backward)


def _value(operations, xs, weights, scale, shift):
    return scale * _sum(operations, xs, weights) + shift


def _sum(operations, xs, weights):
    terms = [op(x, w) for op, x, w in zip(operations, xs, weights)]
    return functools.reduce(jnp.add, terms)


def _pull(operations, xs, weights, u):
    """For every term `sum_k w_jk u_k`."""
    return jax.vjp(lambda xs: _sum(operations, xs, weights), xs)[1](u)[0]


def _by_contributions(operations, rule, xs, weights, scale, shift, r):
    """Rules that know a layer by its positive and negative contributions."""
    parts = [jax.tree.map(part, (xs, weights)) for part in (_positive, _negative)]
    (up_x, up_w), (down_x, down_w) = parts
    rising = _sum(operations, up_x, up_w) + _sum(operations, down_x, down_w)
    falling = _sum(operations, up_x, down_w) + _sum(operations, down_x, up_w)
    up, down = _positive(scale), _negative(scale)
    positive = up * rising + down * falling + _positive(shift)
    negative = up * falling + down * rising + _negative(shift)
    u, v = rule.messages(r, Totals(positive + negative, positive, negative))
    u, v = up * u + down * v, up * v + down * u
    # x+ w+ and x- w- are positive contributions, x+ w- and x- w+ negative ones.
    to_up = _add(_pull(operations, xs, up_w, u), _pull(operations, xs, down_w, v))
    to_down = _add(_pull(operations, xs, down_w, u), _pull(operations, xs, up_w, v))
    return _add(_times(up_x, to_up), _times(down_x, to_down))


def _epsilon(operations, rule, xs, weights, scale, shift, r):
    z = _value(operations, xs, weights, scale, shift)
    u = scale * divided(r, stabilised(z, rule.epsilon))
    return _times(xs, _pull(operations, xs, weights, u))


def _flat(operations, rule, xs, weights, scale, shift, r):
    ones = jax.tree.map(jnp.ones_like, (xs, weights))
    return _pull(operations, xs, ones[1], divided(r, _sum(operations, *ones)))


def _squared(operations, rule, xs, weights, scale, shift, r):
    ones, squares = jax.tree.map(jnp.ones_like, xs), jax.tree.map(jnp.square, weights)
    return _pull(operations, xs, squares, divided(r, _sum(operations, ones, squares)))


def _bounded(operations, rule, xs, weights, scale, shift, r):
    # The sign of a contribution is that of scale times weight.
    low, high = (
        jax.tree.map(lambda x, bound=bound: jnp.full_like(x, bound), xs)
        for bound in (rule.low, rule.high)
    )
    up_w, down_w = (jax.tree.map(part, weights) for part in (_positive, _negative))
    up, down = _positive(scale), _negative(scale)
    z = scale * _sum(operations, xs, weights)
    z = z - up * (_sum(operations, low, up_w) + _sum(operations, high, down_w))
    z = z - down * (_sum(operations, low, down_w) + _sum(operations, high, up_w))
    u = divided(r, z)
    to_x = _times(xs, _pull(operations, xs, weights, scale * u))
    to_low = _add(
        _pull(operations, xs, up_w, up * u), _pull(operations, xs, down_w, down * u)
    )
    to_high = _add(
        _pull(operations, xs, down_w, up * u), _pull(operations, xs, up_w, down * u)
    )
    away = _add(_times(low, to_low), _times(high, to_high))
    return jax.tree.map(jnp.subtract, to_x, away)


_SPECIAL = {Epsilon: _epsilon, Flat: _flat, Squared: _squared, Bounded: _bounded}


def _positive(x):
    return jnp.maximum(x, 0)


def _negative(x):
    return jnp.minimum(x, 0)


def _add(a, b):
    return jax.tree.map(jnp.add, a, b)


def _times(a, b):
    return jax.tree.map(jnp.multiply, a, b)
