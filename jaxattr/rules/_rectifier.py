"""ReLU in every spelling, and a rule that gives it another derivative."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn, Literal

from jaxattr.program import Fact, Rule, fresh, infer

# Given the derivative and the cotangent of the result, the cotangent of the operand.
Backward = Callable[[jax.Array, jax.Array], jax.Array]


class Rectifier(NamedTuple):
    """What an equation computes: min(x where x > 0, else slope * x, top).

    Attributes:
      operand: which operand x is.
      slope: below zero.
      top: of relu6, 6.
    """

    operand: int
    slope: float = 0.0
    top: float = math.inf

    def __call__(self, x: jax.Array) -> jax.Array:
        y = lax.max(x, jnp.zeros_like(x))
        if self.slope:
            y = jnp.where(x >= 0, x, jnp.asarray(self.slope, x.dtype) * x)
        return y if self.top == math.inf else jnp.minimum(y, self.top)

    def derivative(self, x: jax.Array) -> jax.Array:
        """1 or the slope, and 0 above the top."""
        rising = jnp.where(x > 0, 1.0, self.slope)
        return jnp.where(x < self.top, rising, 0.0).astype(x.dtype)


def rectifier(eqn: JaxprEqn, facts: list[Fact]) -> Rectifier | None:
    """What kind of ReLU an equation is, or None.

    `jax.nn.relu`, `relu6` and `leaky_relu`, `jnp.maximum(x, 0)` with a number or
    `zeros_like(x)`, `jnp.clip`, `jnp.where(x > 0, x, 0)` and `x * (x > 0)`. Not the
    maximum of a variance and 0.
    """
    name = eqn.primitive.name
    if name == "custom_jvp_call":
        found = _own(eqn)
    else:
        found = _MATCH[name](facts) if name in _MATCH else None
    if found is None or not facts[found.operand].active:
        return None
    made = facts[found.operand].made
    if made is not None and made.kind == "variance":
        return None  # Kept from rounding below zero, as norms do.
    x = eqn.invars[found.operand].aval
    return found if x.shape == eqn.outvars[0].aval.shape else None


def rectified(backward: Backward) -> Rule:
    """The rule that propagates backward through every ReLU in another way."""

    def rule(eqn, values, facts):
        kind = rectifier(eqn, facts)
        if kind is None:
            return None
        return [with_backward(values[kind.operand], kind, backward)]

    return rule


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def with_backward(x: jax.Array, kind: Rectifier, backward: Backward) -> jax.Array:
    """A ReLU of another derivative."""
    return kind(x)


def _forward(x, kind, backward):
    return kind(x), x


def _backward(kind, backward, x, cotangent):
    return (backward(kind.derivative(x), cotangent),)


with_backward.defvjp(_forward, _backward)


def _own(eqn):
    """`jax.nn.relu` and `relu6`, by their bodies: anybody may take their names."""
    body, seen = eqn.params["call_jaxpr"].jaxpr, []
    infer(body, [fresh(True) for _ in body.invars], lambda e, facts: seen.append(e))
    steps = [
        (step.primitive.name, [float(a.val) for a in step.invars if _is_number(a)])
        for step in seen
    ]
    return {
        (("max", (0.0,)),): Rectifier(0),
        (("max", (0.0,)), ("min", (6.0,))): Rectifier(0, top=6.0),
    }.get(tuple((name, tuple(numbers)) for name, numbers in steps))


def _is_number(atom):
    return isinstance(atom, Literal) and np.ndim(atom.val) == 0


def _max(facts):
    for i, other in ((0, facts[1]), (1, facts[0])):
        if other.uniform == 0:
            return Rectifier(i)
        origin, factor = other.scaled or (None, 0)
        if origin is facts[i].origin and 0 < factor < 1:
            return Rectifier(i, factor)
    return None


def _select(facts):
    if len(facts) != 3 or facts[0].where is None:
        return None
    origin, positive = facts[0].where
    off, on = (1, 2) if positive else (2, 1)
    if facts[on].origin is not origin:
        return None
    if facts[off].uniform == 0:
        return Rectifier(on)
    scaled, factor = facts[off].scaled or (None, 0)
    return Rectifier(on, factor) if scaled is origin else None


def _mul(facts):
    for i, other in ((0, facts[1]), (1, facts[0])):
        if other.where == (facts[i].origin, True):
            return Rectifier(i)
    return None


def _clamp(facts):
    low, _, high = facts
    if low.uniform != 0 or high.uniform is None:
        return None
    return Rectifier(1, top=high.uniform)


_MATCH = {"clamp": _clamp, "max": _max, "select_n": _select, "mul": _mul}
