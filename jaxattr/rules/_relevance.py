"""How relevance goes back through everything that is not a layer with weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxattr._clip import wide
from jaxattr.program import CALLS, ELEMENTWISE, Fact, Traced, bodies, outcome
from jaxattr.rules._affine import Affine, joined, product
from jaxattr.rules._functions import Functions
from jaxattr.rules._linearity import BENT
from jaxattr.rules._lrp_rules import AlphaBeta, Gamma, LayerRule
from jaxattr.rules._messages import (
    activated,
    biased,
    bilinear,
    counted,
    multiplied,
    non_linear,
    shared,
    shared_out,
    softmax,
)
from jaxattr.rules._operations import PRODUCTS, SUMS, name_of, operation_of, passed
from jaxattr.rules._rectifier import rectifier

# A layer behind these is the same layer.
_REARRANGED = frozenset(("reshape", "squeeze", "transpose", "copy", "name"))
# What moves numbers about, or takes the largest: the plain derivative is right.
_STRUCTURE = _REARRANGED | {
    *("broadcast_in_dim", "slice", "pad", "dynamic_slice", "concatenate", "gather"),
    *("rev", "split", "select_n", "reduce_max", "reduce_window_max", "max"),
    *("min", "clamp", "convert_element_type", "stop_gradient"),
}
# Non-linear in one operand. Of the rest some have no value at 0, and some two operands.
_ACTIVATIONS = (CALLS | BENT | {"neg"}) - {
    *("log", "lgamma", "digamma", "acosh", "pow", "rem", "nextafter", "atan2"),
}
_DIVISION = (
    "`f` has an operation without a rule for relevance: div by what depends on the "
    "clip. A soft-max is known when it is that of `jax.nn`; gradient methods take any "
    "network."
)
_SIGNED = {"add": 1, "add_any": 1, "sub": -1}
_REMEMBERED = ELEMENTWISE | CALLS | {"convert_element_type", "copy", "name"}

Choose = Callable[[JaxprEqn], LayerRule]  # A product -> its rule.


class Relevance:
    """The rule of one pass: it remembers layers by the values that they made.

    Args:
      network: whose equations these are.
      choose: the rule of a layer with weights.
      epsilon: stabilises the sums that are no layers.
      signs: [2] zeros, whose cotangent becomes the sums of what is negative, and of all
        magnitudes, in the inputs of layers of rules for inputs that are neither
        negative nor the clip; None for no such count.
    """

    def __init__(
        self,
        network: Traced,
        choose: Choose,
        epsilon: float,
        signs: jax.Array | None = None,
    ):
        self._network, self._choose, self._epsilon = network, choose, epsilon
        self._signs = signs
        self._functions = Functions()
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
        operation = operation_of(self._network, eqn)
        results = self._results(eqn, values, facts, operation)
        if name in _REMEMBERED:
            results = [operation(*values)] if results is None else results
            self._functions.keep(results[0], operation, values, facts)
        return results

    def _results(self, eqn, values, facts, operation):
        """As of any operation; a gate that gates nothing is an activation."""
        active = [fact.active for fact in facts]
        name, which = eqn.primitive.name, active.index(True)
        if name in _REARRANGED and id(values[0]) in self._layers:
            value, layer = self._layers[id(values[0])]
            if name != "name":  # A tag moves nothing, and has no transpose.
                layer = layer.moved(operation, value.shape)
            return [self._made(layer)]
        if name in PRODUCTS and sum(active) == 1:
            return [self._product(eqn, values, facts, which)]
        if name in PRODUCTS:
            return [bilinear(operation, self._epsilon, *values)]
        if not any(_is_float(out.aval) for out in eqn.outvars):
            return None
        if name in ("sub", "exp"):
            self._exponents[facts[0].origin] = values[0]
        kind = rectifier(eqn, facts)
        if kind is not None:
            return [self._bent(activated(kind, values[kind.operand]))]
        if name in ("mul", "div", *_SIGNED) and sum(active) == 1:
            return self._with_constant(eqn, values, facts, which)
        if name == "integer_pow" and eqn.params["y"] < 0:
            raise ValueError(_DIVISION)
        function = self._function(eqn, values, facts, operation)
        if function is not None:
            return [function]
        if name in _SIGNED:
            return [self._joined(name, *values)]
        if name == "mul":
            return [self._gated(values, facts)]
        if name == "div":
            return [self._divided(eqn, values, facts)]
        if name in SUMS:
            return [shared_out(operation, self._epsilon, *values)]
        if name not in _STRUCTURE and not list(bodies(eqn)):
            raise ValueError(
                f"`f` has an operation without a rule for relevance: {name_of(eqn)}. "
                "Gradient methods and excitation_backprop take any network."
            )
        return None

    def _function(self, eqn, values, facts, operation):
        """A non-linearity, whose relevance goes to its argument; None if it is none."""
        active = [fact.active for fact in facts]
        alone = sum(active) == 1 and _is_float(values[active.index(True)])
        if eqn.primitive.name not in (_ACTIVATIONS if alone else _REMEMBERED):
            return None
        (fact, *_) = outcome(eqn, facts)
        found = self._functions.argument(operation, values, facts, fact.of)
        if found is None:
            return None
        y, (x, at_zero) = operation(*values), found
        return self._bent(non_linear(self._epsilon, y, x.astype(y.dtype), at_zero))

    def _bent(self, value):
        self._functions.bend(value)
        return value

    def follow(self, made: Any, value: Any) -> None:
        """Knows of a value what it knew of the one it made: as rounded, say."""
        self._functions.follow(made, value)
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

    def _product(self, eqn, values, facts, which):
        """A new layer."""
        operation = operation_of(self._network, eqn, turned=which == 1)
        dtype = wide(eqn.outvars[0].aval.dtype)
        x, weights, rule = values[which], values[1 - which], self._choose(eqn)
        if self._signs is not None and facts[which].mixed and _is_for_positive(rule):
            x = counted(x, self._signs)
        layer = Affine(
            (operation,),
            (x,),
            (weights,),
            product(operation, x, weights),
            jnp.ones((), dtype),
            jnp.zeros((), dtype),
            rule,
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
            return [biased(kept, self._epsilon, value, moved * constant)]
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
        return shared(_SIGNED[name], self._epsilon, a, b)

    def _gated(self, values, facts):
        """All to the signal, none to its gate; without a gate half to each.

        In `x * g(x)`, as in gelu, all goes to x: an activation in two operations.
        """
        (a, b), share = facts, 0.5
        if a.gate != b.gate:
            return multiplied(float(b.gate), *values)
        if a.argument in b.of:
            share = 1.0
        elif b.argument in a.of:
            share = 0.0
        return multiplied(share, *values)

    def _divided(self, eqn, values, facts):
        """A soft-max; or by what is a gate, as in a layer norm."""
        (fact,) = outcome(eqn, facts)
        if fact.made is not None and fact.made.kind == "softmax":
            return softmax(fact.made.axes, self._exponents[fact.made.origin])
        if facts[1].gate:
            return multiplied(1.0, values[0], 1 / values[1])
        raise ValueError(_DIVISION)


def _is_for_positive(rule):
    return isinstance(rule, AlphaBeta) or (isinstance(rule, Gamma) and rule.textbook)


def _is_float(value):
    return jnp.issubdtype(value.dtype, jnp.floating)
