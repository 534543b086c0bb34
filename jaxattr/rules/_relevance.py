"""How relevance goes back through everything that is not a layer with weights."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxattr._clip import wide
from jaxattr.program import GATES, Fact, Traced, bodies, outcome
from jaxattr.rules._affine import Affine, joined, product
from jaxattr.rules._lrp_rules import LayerRule, divided, stabilised
from jaxattr.rules._operations import PRODUCTS, SUMS, fitted, operation_of, passed
from jaxattr.rules._rectifier import rectifier

# Element by element: what comes out is what went in, as far as relevance goes.
_ACTIVATIONS = frozenset(
    {*("tanh", "erf", "erfc", "exp", "expm1", "log1p"), "integer_pow", "square"}
    | {"abs", "neg"}
)
# A layer behind these is the same layer.
_REARRANGED = frozenset(("reshape", "squeeze", "transpose", "copy", "name"))
# What moves numbers about, or takes the largest: the plain derivative is right.
_STRUCTURE = _REARRANGED | {
    *("broadcast_in_dim", "slice", "pad", "dynamic_slice", "concatenate", "gather"),
    *("rev", "split", "select_n", "reduce_max", "reduce_window_max", "argmax", "max"),
    *("min", "clamp"),
    *("convert_element_type", "gt", "ge", "lt", "le", "eq", "ne", "stop_gradient"),
}
_DIVISION = (
    "`f` has an operation without a rule for relevance: div by what depends on the "
    "clip. A soft-max is known when it is that of `jax.nn`; gradient methods take any "
    "network."
)
_SIGNED = {"add": 1, "add_any": 1, "sub": -1}

Choose = Callable[[JaxprEqn], LayerRule]  # A product -> its rule.


class Relevance:
    """The rule of one pass: it remembers layers by the values that they made."""

    def __init__(self, network: Traced, choose: Choose, epsilon: float):
        self._network, self._choose, self._epsilon = network, choose, epsilon
        self._layers: dict[int, tuple[Any, Affine]] = {}
        self._exponents: dict[object, Any] = {}

    def __call__(
        self, eqn: JaxprEqn, values: list[Any], facts: list[Fact]
    ) -> list[Any] | None:
        """Results of an equation whose cotangents are relevance."""
        active = [fact.active for fact in facts]
        name = eqn.primitive.name
        if not any(active) or not eqn.outvars:
            return None
        operation, which = operation_of(self._network, eqn), active.index(True)
        if name in _REARRANGED and id(values[0]) in self._layers:
            value, layer = self._layers[id(values[0])]
            if name != "name":  # A tag moves nothing, and has no transpose.
                layer = layer.moved(operation, value.shape)
            return [self._made(layer)]
        if name in PRODUCTS and sum(active) == 1:
            return [self._product(eqn, values, which)]
        if name in PRODUCTS:
            return [_bilinear(operation, self._epsilon, *values)]
        if name in ("mul", "div", *_SIGNED) and sum(active) == 1:
            return self._with_constant(eqn, values, facts, which)
        if name in ("sub", "exp"):
            self._exponents[facts[0].origin] = values[0]
        if name in _SIGNED:
            return [self._joined(name, *values)]
        if name == "mul":
            return [self._gated(values, facts)]
        if name == "div":
            return [self._divided(eqn, values, facts)]
        if name in SUMS:
            return [_shared_out(operation, self._epsilon, *values)]
        if name in GATES:
            return [_activated(operation, *values)]
        kind = rectifier(eqn, facts)
        if kind is not None:
            return [_activated(kind, values[kind.operand])]
        if name in _ACTIVATIONS:
            return [_activated(operation, *values)]
        if name not in _STRUCTURE and not list(bodies(eqn)):
            raise ValueError(
                f"`f` has an operation without a rule for relevance: {name}. Gradient "
                "methods and excitation_backprop take any network."
            )
        return None

    def follow(self, made: Any, value: Any) -> None:
        """Knows of a value what it knew of the one it made: as rounded, say."""
        if id(made) in self._layers:
            self._layers[id(value)] = value, self._layers[id(made)][1]

    def leaving(self, values: list[Any]) -> tuple[Any, Callable[..., None]]:
        """What it knows of values that leave a body; see `jaxattr.program.evaluate`."""
        layers = [self._layer_of(value) for value in values]

        def tell(values, arrays):
            for value, layer, given in zip(values, layers, arrays, strict=True):
                if layer is not None:
                    self._layers[id(value)] = value, layer.of_arrays(*given)

        return [layer and layer.arrays for layer in layers], tell

    def _product(self, eqn, values, which):
        """A new layer."""
        operation = operation_of(self._network, eqn, turned=which == 1)
        dtype = wide(eqn.outvars[0].aval.dtype)
        layer = Affine(
            (operation,),
            (values[which],),
            (values[1 - which],),
            product(operation, values[which], values[1 - which]),
            jnp.ones((), dtype),
            jnp.zeros((), dtype),
            self._choose(eqn),
            joins=eqn.primitive.name == "dot_general",
        )
        return self._made(layer)

    def _made(self, layer):
        value = layer.value()
        self._layers[id(value)] = value, layer
        return value

    def _layer_of(self, value):
        return self._layers.get(id(value), (None, None))[1]

    def _with_constant(self, eqn, values, facts, which):
        """A bias, a scale, a normalisation: of a layer a part, else passed on."""
        name, value, constant = eqn.primitive.name, values[which], values[1 - which]
        if name == "div" and which == 1:
            if facts[1].gate:
                return None
            raise ValueError(_DIVISION)
        layer = self._layer_of(value)
        if value.shape != eqn.outvars[0].aval.shape:
            layer = None  # The constant makes more of it.
        sign = _SIGNED.get(name)
        if layer is None and sign is None:
            return [passed(name, which, *values)]
        if layer is None:
            kept, moved = (sign, 1) if which == 1 else (1, sign)
            return [_biased(kept, self._epsilon, value, moved * constant)]
        if name in ("mul", "div"):
            factor = constant if name == "mul" else 1 / constant
            return [self._made(layer.times(factor))]
        if sign == -1 and which == 1:
            return [
                self._made(layer.times(jnp.asarray(-1, value.dtype)).plus(constant))
            ]
        return [self._made(layer.plus(sign * constant))]

    def _joined(self, name, a, b):
        """Two branches: one layer if both are recurrent products, else shares."""
        layers = [self._layer_of(value) for value in (a, b)]
        together = name != "sub" and None not in layers and a.shape == b.shape
        if (
            together
            and all(x.joins for x in layers)
            and layers[0].rule == layers[1].rule
        ):
            return self._made(joined(*layers))
        return _shared(_SIGNED[name], self._epsilon, a, b)

    def _gated(self, values, facts):
        """All to the signal, none to its gate; without a gate half to each.

        In `x * g(x)`, as in gelu, all goes to x: an activation in two operations.
        """
        (a, b), share = facts, 0.5
        if a.gate != b.gate:
            return _multiplied(float(b.gate), *values)
        if a.argument in b.of:
            share = 1.0
        elif b.argument in a.of:
            share = 0.0
        return _multiplied(share, *values)

    def _divided(self, eqn, values, facts):
        """A soft-max; or by what is a gate, as in a layer norm."""
        (fact,) = outcome(eqn, facts)
        if fact.made is not None and fact.made.kind == "softmax":
            return _softmax(fact.made.axes, self._exponents[fact.made.origin])
        if facts[1].gate:
            return _multiplied(1.0, values[0], 1 / values[1])
        raise ValueError(_DIVISION)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _shared_out(operation, epsilon, x):
    return operation(x)


def _shared_out_backward(operation, epsilon, x, r):
    z, pull = jax.vjp(operation, x)
    return (x * pull(divided(r, stabilised(z, epsilon)))[0],)


_shared_out.defvjp(lambda op, epsilon, x: (op(x), x), _shared_out_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _bilinear(operation, epsilon, a, b):
    return operation(a, b)


def _bilinear_backward(operation, epsilon, given, r):
    z, pull = jax.vjp(operation, *given)
    to_a, to_b = pull(divided(r, stabilised(z, epsilon)) / 2)
    return given[0] * to_a, given[1] * to_b


_bilinear.defvjp(
    lambda operation, epsilon, a, b: (operation(a, b), (a, b)), _bilinear_backward
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _softmax(axes, x):
    return jax.nn.softmax(x, axes)


def _softmax_forward(axes, x):
    y = jax.nn.softmax(x, axes)
    return y, (x, y)


def _softmax_backward(axes, given, r):
    x, y = given
    x = jnp.where(jnp.isfinite(x), x, 0)  # What is masked by -inf gets nothing.
    return (x * (r - y * r.sum(axes, keepdims=True)),)


_softmax.defvjp(_softmax_forward, _softmax_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _shared(sign, epsilon, a, b):
    return a + sign * b


def _shared_backward(sign, epsilon, given, r):
    a, b = given
    u = divided(r, stabilised(a + sign * b, epsilon))
    return fitted(a * u, a), fitted(sign * b * u, b)


_shared.defvjp(lambda sign, epsilon, a, b: (a + sign * b, (a, b)), _shared_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _biased(sign, epsilon, x, constant):
    return sign * x + constant


def _biased_backward(sign, epsilon, given, r):
    x, constant = given
    u = divided(r, stabilised(sign * x + constant, epsilon))
    return fitted(sign * x * u, x), jnp.zeros_like(constant)


_biased.defvjp(lambda sign, epsilon, x, c: (sign * x + c, (x, c)), _biased_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _multiplied(to_a, a, b):
    return a * b


_multiplied.defvjp(
    lambda to_a, a, b: (a * b, (a, b)),
    lambda to_a, given, r: (
        fitted(to_a * r, given[0]),
        fitted((1 - to_a) * r, given[1]),
    ),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _activated(operation, x):
    return operation(x)


_activated.defvjp(
    lambda operation, x: (operation(x), None), lambda operation, _, r: (r,)
)
