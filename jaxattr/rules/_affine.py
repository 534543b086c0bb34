"""An affine layer, in one equation or in several, that propagates relevance.

A convolution, its bias and its batch norm are one layer to a rule, though they are five
equations. The value of the first is known again, as the very object, when the next adds
or multiplies something that does not depend on the clip; each result is then written as
a function of the layer's own input, and what lies between is dead code.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.rules._lrp_rules import (
    AlphaBeta,
    Bounded,
    Epsilon,
    Flat,
    Gamma,
    LayerRule,
    Squared,
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
      products: the sum over terms, traced once however many equations follow.
      scale: broadcasts to z.
      shift: likewise.
      rule: by which relevance propagates.
      joins: whether its sum with another such layer is one layer: matrix products, as
        in the pre-activation of a recurrent cell, not yet scaled.
    """

    operations: tuple[Operation, ...]
    xs: tuple[jax.Array, ...]
    weights: tuple[jax.Array, ...]
    products: jax.Array
    scale: jax.Array
    shift: jax.Array
    rule: LayerRule
    joins: bool

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All but what is known before it runs."""
        return self.xs, self.weights, self.products, self.scale, self.shift

    def of_arrays(self, *arrays: Any) -> "Affine":
        """The same layer of other arrays, in the order of `arrays`."""
        return Affine(self.operations, *arrays, self.rule, self.joins)

    def value(self) -> jax.Array:
        """z, whose cotangent is relevance."""
        return _affine(self.operations, self.rule, *self.arrays)

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
        products = move(self.products)
        return self._replace(
            operations=operations, products=products, scale=scale, shift=shift
        )

    def plus(self, term: jax.Array) -> "Affine":
        """After adding what does not depend on the clip."""
        return self._replace(shift=self.shift + term)


def joined(a: Affine, b: Affine) -> Affine:
    """The sum of two layers that join."""
    return a._replace(
        operations=a.operations + b.operations,
        xs=a.xs + b.xs,
        weights=a.weights + b.weights,
        products=a.products + b.products,
        shift=a.shift + b.shift,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def product(operation: Operation, x: jax.Array, weights: jax.Array) -> jax.Array:
    """The product of one term, through which no relevance goes by itself."""
    return operation(x, weights)


# Not `product` itself: this is differentiated where an explanation is.
product.defvjp(
    lambda operation, x, weights: (operation(x, weights), None),
    lambda operation, _, r: (None, None),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _affine(operations, rule, xs, weights, products, scale, shift):
    return scale * products + shift


def _forward(operations, rule, *arrays):
    _, _, products, scale, shift = arrays
    return scale * products + shift, arrays


def _backward(operations, rule, arrays, r):
    layer = _Layer(operations, *arrays)
    return _SEND[type(rule)](layer, rule, r), None, None, None, None


_affine.defvjp(_forward, _backward)


def _sum(operations, xs, weights):
    terms = [op(x, w) for op, x, w in zip(operations, xs, weights)]
    return functools.reduce(jnp.add, terms)


class _Layer(NamedTuple):
    """What a rule sees of a layer; see `Affine`."""

    operations: tuple[Operation, ...]
    xs: tuple[jax.Array, ...]
    weights: tuple[jax.Array, ...]
    products: jax.Array
    scale: jax.Array
    shift: jax.Array

    @property
    def z(self):
        return self.scale * self.products + self.shift

    def sum(self, xs, weights):
        """The sum of the terms of other inputs and weights."""
        return _sum(self.operations, xs, weights)

    def pull(self, weights, u):
        """For every term `sum_k w_jk u_k`."""
        terms = jax.linear_transpose(lambda xs: self.sum(xs, weights), self.xs)
        return terms(u)[0]


def _alpha_beta(layer, rule, r):
    up_w = jax.tree.map(_positive, layer.weights)
    down_w = jax.tree.map(_negative, layer.weights)
    # Inputs of both signs go side by side, then messages to both.
    xs = jax.tree.map(lambda x: jnp.stack([_positive(x), _negative(x)]), layer.xs)
    by_up = jax.vmap(lambda xs: layer.sum(xs, up_w))(xs)
    by_down = jax.vmap(lambda xs: layer.sum(xs, down_w))(xs)
    rising, falling = by_up[0] + by_down[1], by_down[0] + by_up[1]
    up, down = _positive(layer.scale), _negative(layer.scale)
    positive = up * rising + down * falling + _positive(layer.shift)
    negative = up * falling + down * rising + _negative(layer.shift)
    u, v = rule.alpha * divided(r, positive), -rule.beta * divided(r, negative)
    u, v = up * u + down * v, up * v + down * u
    # x+ w+ and x- w- are positive contributions, x+ w- and x- w+ negative ones.
    pull = jax.vmap(layer.pull, (None, 0))
    to_xs = _add(pull(up_w, jnp.stack([u, v])), pull(down_w, jnp.stack([v, u])))
    return jax.tree.map(lambda x, to_x: (x * to_x).sum(0), xs, to_xs)


def _gamma(layer, rule, r):
    """By sums over all contributions and over their magnitudes: c+ = (c + |c|) / 2.

    The textbook's takes the magnitudes of weights alone: w+ = (w + |w|) / 2.

    Half as many products as by sign. What cancels in (z + |z|) / 2 never stands alone
    in a denominator here, as it would in the alpha-beta rule.
    """
    xs, weights = jax.tree.map(jnp.abs, (layer.xs, layer.weights))
    xs = layer.xs if rule.textbook else xs
    scale, z = jnp.abs(layer.scale), layer.z
    size = scale * layer.sum(xs, weights) + jnp.abs(layer.shift)
    sign = jnp.where((z < 0) & (not rule.textbook), -1, 1).astype(z.dtype)
    total = z + rule.gamma / 2 * (z + sign * size)
    share = divided(r, stabilised(total, rule.epsilon))
    both = layer.pull(layer.weights, layer.scale * (1 + rule.gamma / 2) * share)
    sizes = layer.pull(weights, scale * (rule.gamma / 2) * sign * share)
    return _add(_times(layer.xs, both), _times(xs, sizes))


def _epsilon(layer, rule, r):
    u = layer.scale * divided(r, stabilised(layer.z, rule.epsilon))
    return _times(layer.xs, layer.pull(layer.weights, u))


def _flat(layer, rule, r):
    xs, weights = jax.tree.map(jnp.ones_like, (layer.xs, layer.weights))
    return layer.pull(weights, divided(r, layer.sum(xs, weights)))


def _squared(layer, rule, r):
    ones = jax.tree.map(jnp.ones_like, layer.xs)
    squares = jax.tree.map(jnp.square, layer.weights)
    return layer.pull(squares, divided(r, layer.sum(ones, squares)))


def _bounded(layer, rule, r):
    # The sign of a contribution is that of scale times weight.
    low, high = (
        jax.tree.map(lambda x, bound=bound: jnp.full_like(x, bound), layer.xs)
        for bound in (rule.low, rule.high)
    )
    up_w, down_w = (
        jax.tree.map(part, layer.weights) for part in (_positive, _negative)
    )
    up, down = _positive(layer.scale), _negative(layer.scale)
    z = layer.scale * layer.products
    z = z - up * (layer.sum(low, up_w) + layer.sum(high, down_w))
    z = z - down * (layer.sum(low, down_w) + layer.sum(high, up_w))
    u = divided(r, z)
    to_x = _times(layer.xs, layer.pull(layer.weights, layer.scale * u))
    to_low = _add(layer.pull(up_w, up * u), layer.pull(down_w, down * u))
    to_high = _add(layer.pull(down_w, up * u), layer.pull(up_w, down * u))
    away = _add(_times(low, to_low), _times(high, to_high))
    return jax.tree.map(jnp.subtract, to_x, away)


_SEND = {
    AlphaBeta: _alpha_beta,
    Bounded: _bounded,
    Epsilon: _epsilon,
    Flat: _flat,
    Gamma: _gamma,
    Squared: _squared,
}


def _positive(x):
    return jnp.maximum(x, 0)


def _negative(x):
    return jnp.minimum(x, 0)


def _add(a, b):
    return jax.tree.map(jnp.add, a, b)


def _times(a, b):
    return jax.tree.map(jnp.multiply, a, b)
