"""The rule of excitation backpropagation: back to where excitation came from."""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxattr.program import Rule, Traced

_SUMS = frozenset(("reduce_sum", "reduce_window_sum"))
PRODUCTS = frozenset(("conv_general_dilated", "dot_general"))
_OPERATIONS = {
    "add": jnp.add,
    "add_any": jnp.add,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "div": jnp.divide,
}


def excitation(network: Traced, inhibit: JaxprEqn | None = None) -> Rule:
    """The rule, whose cotangents are probabilities.

    - A convolution or matrix product gives its input `x * W+^T (p / (W+ x))`, sums and
      mean pools likewise, with 0 where nothing excites.
    - Adding or multiplying by something that does not depend on the clip (a bias, the
      statistics of batch norm) passes everything on.
    - What is subtracted gets nothing.
    - A sum of two branches gives each its share of what is positive.
    - All else, ReLU and max-pool among it, keeps its derivative.

    Args:
      network: whose equations these are.
      inhibit: an equation whose weights count with the other sign.
    """

    def rule(eqn, values, facts):
        active = [fact.active for fact in facts]
        name = eqn.primitive.name
        if name in _SUMS and all(active):
            return [_summed(_operation(network, eqn), *values)]
        if name in PRODUCTS and sum(active) == 1:
            which = active.index(True)
            operation = _operation(network, eqn, turned=which == 1)
            sign = -1 if eqn is inhibit else 1
            return [_weighed(operation, sign, values[which], values[1 - which])]
        if name in ("add", "add_any") and all(active):
            return [_shared(*values)]
        if name == "neg" or (name == "sub" and active == [False, True]):
            # What is subtracted inhibits.
            inert = [jax.lax.stop_gradient(value) for value in values]
            return network.apply(eqn, inert)
        commutes = name in ("add", "add_any", "mul") and sum(active) == 1
        if commutes or (name in ("sub", "div") and active == [True, False]):
            return [_passed(name, active.index(True), *values)]
        return None

    return rule


def products(network: Traced) -> list[JaxprEqn]:
    """All products with weights, in order; the last is the prediction layer.

    A jitted function that is called twice holds its equations twice.
    """
    found = []

    def see(eqn, facts):
        if eqn.primitive.name in PRODUCTS and sum(f.active for f in facts) == 1:
            found.append(eqn)

    network.survey(see)
    return found


def _operation(network, eqn, turned=False):
    def operation(*values):
        values = values[::-1] if turned else values
        return network.apply(eqn, values)[0]

    return operation


def _divided(p, total):
    """0 where nothing excites."""
    there = total > 0
    return jnp.where(there, p / jnp.where(there, total, 1), 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _summed(operation, x):
    return operation(x)


def _summed_backward(operation, x, p):
    x = jnp.maximum(x, 0)
    total, pull = jax.vjp(operation, x)
    return (x * pull(_divided(p, total))[0],)


_summed.defvjp(lambda operation, x: (operation(x), x), _summed_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _weighed(operation, sign, x, weights):
    return operation(x, weights)


def _weighed_backward(operation, sign, given, p):
    x, weights = given
    x, excite = jnp.maximum(x, 0), jnp.maximum(sign * weights, 0)
    total, pull = jax.vjp(lambda x: operation(x, excite), x)
    return x * pull(_divided(p, total))[0], jnp.zeros_like(weights)


_weighed.defvjp(
    lambda operation, sign, x, weights: (operation(x, weights), (x, weights)),
    _weighed_backward,
)


@jax.custom_vjp
def _shared(a, b):
    return a + b


def _shared_backward(given, p):
    a, b = (jnp.maximum(branch, 0) for branch in given)
    share = _divided(p, a + b)
    return _fitted(a * share, a), _fitted(b * share, b)


_shared.defvjp(lambda a, b: (a + b, (a, b)), _shared_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _passed(name, which, a, b):
    return _OPERATIONS[name](a, b)


def _passed_backward(name, which, given, p):
    fitted = [jnp.zeros_like(value) for value in given]
    fitted[which] = _fitted(p, given[which])
    return tuple(fitted)


_passed.defvjp(
    lambda name, which, a, b: (_OPERATIONS[name](a, b), (a, b)), _passed_backward
)


def _fitted(p, like):
    """Sums over the axes along which a value was broadcast."""
    shape = jnp.shape(like)
    axes = [i for i, n in enumerate(shape) if n == 1 and p.shape[i] != 1]
    p = p.sum(axes, keepdims=True) if len(shape) == p.ndim else p.sum()
    return p.reshape(shape)
