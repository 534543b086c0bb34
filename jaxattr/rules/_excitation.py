"""The rule of excitation backpropagation: back to where excitation came from."""

import functools
from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxattr.program import Rule, Traced
from jaxattr.rules._operations import PRODUCTS, SUMS, fitted, operation_of, passed
from jaxattr.rules._rectifier import rectifier, with_backward
from jaxattr.rules._recurrence import Split

_ALL_SHARES: Mapping[int, Split] = MappingProxyType({})


def excitation(
    network: Traced,
    inhibit: JaxprEqn | None = None,
    splits: Mapping[int, Split] = _ALL_SHARES,
) -> Rule:
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
      splits: id of a sum of two branches -> how it splits, if not into shares.
    """

    def rule(eqn, values, facts):
        active = [fact.active for fact in facts]
        name = eqn.primitive.name
        if name in SUMS and all(active):
            return [_summed(operation_of(network, eqn), *values)]
        if name in PRODUCTS and sum(active) == 1:
            which = active.index(True)
            operation = operation_of(network, eqn, turned=which == 1)
            sign = -1 if eqn is inhibit else 1
            return [_weighed(operation, sign, values[which], values[1 - which])]
        if name in ("add", "add_any") and all(active):
            split = splits.get(id(eqn), "shares")
            if split == "derivative":
                return None
            if split == "shares":
                return [_shared(*values)]
            return [passed(name, split, *values)]
        if name == "sub" and all(active):
            return [_shared(values[0], jax.lax.stop_gradient(-values[1]))]
        if name == "neg" or (name == "sub" and active == [False, True]):
            # What is subtracted inhibits.
            inert = [jax.lax.stop_gradient(value) for value in values]
            return network.apply(eqn, inert)
        commutes = name in ("add", "add_any", "mul") and sum(active) == 1
        if commutes or (name in ("sub", "div") and active == [True, False]):
            return [passed(name, active.index(True), *values)]
        if name == "custom_jvp_call" and (kind := rectifier(eqn, facts)) is not None:
            # Its own derivative, but of values that may be wider than its own.
            return [with_backward(values[kind.operand], kind, jnp.multiply)]
        return None

    return rule


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
    return fitted(a * share, a), fitted(b * share, b)


_shared.defvjp(lambda a, b: (a + b, (a, b)), _shared_backward)
