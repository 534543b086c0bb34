"""The rule of DeepLIFT: which operation passes on a move in which way."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn

from jaxattr._clip import wide
from jaxattr.program import (
    CALLS,
    Fact,
    Traced,
    bodies,
    carried,
    evaluate,
    fresh,
    lift,
    opened,
)
from jaxattr.rules._linearity import BENT, LARGEST, LEAST, LINEAR, OPPOSED, STRAIGHT
from jaxattr.rules._moved import (
    Function,
    Moved,
    largest,
    linear,
    moved,
    pointwise,
    product,
    weighted,
)
from jaxattr.rules._operations import PRODUCTS, operation_of
from jaxattr.rules._rectifier import rectifier


class _Chain(NamedTuple):
    """A value that is a function, element by element, of another."""

    value: jax.Array  # Kept, so that its id stays its own.
    root: Moved
    function: Function
    bent: bool  # Whether it is more than a factor and a term.


class Multipliers:
    """The rule of one pass, under which what depends on the clip is a `Moved`.

    Equations that together make one function of one value, element by element, are one
    function: an ELU of a comparison, two branches and a selection is no sum of these.
    """

    def __init__(self, network: Traced, num_parts: int):
        self._network, self._num_parts = network, num_parts
        self._chains: dict[int, _Chain] = {}
        self._wide = network.wide(self)

    def __call__(
        self, eqn: JaxprEqn, values: list[Any], facts: list[Fact]
    ) -> list[Any] | None:
        """Results of an equation."""
        eqn, name = _unrounded(eqn), eqn.primitive.name
        which = [
            i
            for i, (value, fact) in enumerate(zip(values, facts))
            if isinstance(value, Moved) or fact.active
        ]
        if not which:
            return None
        if name == "stop_gradient":  # It stops derivatives; these are differences.
            return values
        if name in ("scan", "cond", "while"):
            return getattr(self, f"_{name}")(eqn, values, facts)
        kind = rectifier(eqn, facts)
        if kind is not None:
            x = values[kind.operand]
            return [self._chained(_rectified(kind), [self._chain(x)], x.value)]
        if name in CALLS:
            active = [i in which for i in range(len(values))]
            return self._program(eqn.params["call_jaxpr"], values, active)
        if list(bodies(eqn)):
            return None
        if name in STRAIGHT or name in BENT:
            result = self._pointwise(eqn, values, which)
            if result is not None:
                return [result]
        if all(not _is_float(out.aval) for out in eqn.outvars):
            return self._network.apply(eqn, [_plain(value) for value in values])
        if not all(isinstance(values[i], Moved) for i in which):
            raise _no_rule(name, " by what depends on the clip in steps")
        return self._apart(eqn, values, which)

    def plain(self, value: Any) -> Any:
        """A value without its move."""
        return _plain(value)

    def valued(self, made: Any, value: jax.Array) -> Any:
        """A move that was made, of the value that the network gives."""
        return made._replace(value=value) if isinstance(made, Moved) else value

    def follow(self, made: Any, value: Any) -> None:
        """Knows of a value what it knew of the one it made."""
        found = self._chains.get(id(_plain(made)))
        if found is not None:
            self._keep(_plain(value), *found[1:])

    def lifted(self, value: Any) -> Any:
        """A value that has not moved, as one that has, by nothing."""
        if isinstance(value, Moved) or not _is_float(jax.typeof(value)):
            return value
        value = jnp.asarray(value)
        return moved(value, [jnp.zeros_like(value)], self._num_parts)

    def _pointwise(self, eqn, values, which):
        """The result if it is one function, element by element, of one value."""
        xs, (out,) = [values[i] for i in which], eqn.outvars
        chains = [self._chain(x) for x in xs]
        straight = eqn.primitive.name in STRAIGHT and len(which) == 1
        straight = straight and (eqn.primitive.name, which) != ("div", [1])
        operation = _of_moving(operation_of(self._network, eqn), values, which)
        if not straight or None in chains or chains[0].bent or not _is_float(out.aval):
            return self._chained(operation, chains, out.aval)
        (result,) = self._apart(eqn, values, which)
        (chain,) = chains
        if chain.value.shape == out.aval.shape:
            self._keep(result.value, chain.root, _after(operation, chains), False)
        return result

    def _chained(self, operation, chains, out):
        """A function of values that all are functions of one root; else None."""
        if any(c is None or c.value.shape != out.shape for c in chains):
            return None
        root = chains[0].root
        if any(chain.root.value is not root.value for chain in chains):
            return None
        value = operation(*(chain.value for chain in chains))
        function = _after(operation, chains)
        self._keep(value, root, function, True)
        if not _is_float(out):
            return value
        return pointwise(function, root)._replace(value=value)

    def _keep(self, value, *chain):
        self._chains[id(value)] = _Chain(value, *chain)

    def _chain(self, x):
        found = self._chains.get(id(_plain(x)))
        if found is None and isinstance(x, Moved):
            return _Chain(x.value, x, lambda z: z, False)
        return found

    def _apart(self, eqn, values, which):
        """Results of an operation that is no function of each element."""
        name, operation = eqn.primitive.name, operation_of(self._network, eqn)
        xs = [values[i] for i in which]
        if name == "div" and 1 in which:
            # As a product, with a function of what it divides by.
            values = [values[0], pointwise(lambda b: 1 / b, values[1])]
            name, operation, xs = "mul", jnp.multiply, [values[i] for i in which]
        if name in ("mul", *PRODUCTS) and len(which) == 2:
            return [product(operation, *xs)]
        if name in ("mul", *PRODUCTS):
            turned = (lambda x, w: operation(w, x)) if which == [1] else operation
            other = 1 - which[0]
            weights = jnp.asarray(values[other], wide(eqn.invars[other].aval.dtype))
            return [weighted(turned, xs[0], weights)]
        if name == "div":
            weights = jnp.asarray(values[1], wide(eqn.invars[1].aval.dtype))
            return [weighted(jnp.multiply, xs[0], 1 / weights)]

        of_moved = _of_moving(
            lambda *operands: self._network.apply(eqn, operands), values, which
        )
        if name in LARGEST | LEAST:
            return [largest(lambda *x: of_moved(*x)[0], xs, least=name in LEAST)]
        if name in LINEAR or name in OPPOSED:
            opposed = OPPOSED.get(name, (False,) * len(values))
            return linear(of_moved, xs, [opposed[i] for i in which])
        raise _no_rule(name)

    def _program(self, program, values, active):
        jaxpr, consts = opened(program)
        return evaluate(jaxpr, consts, values, self._wide, active=active, lift=lift)

    def _scan(self, eqn, values, facts):
        params = eqn.params
        first = params["num_consts"]
        last = first + params["num_carry"]
        facts = [
            fresh(fact.active or isinstance(value, Moved))
            for fact, value in zip(facts, values)
        ]
        (body,) = bodies(eqn)
        active = [fact.active for fact in carried(body, facts, first, last)]

        def lifted(carry):
            return [
                self.lifted(value) if here else value
                for value, here in zip(carry, active[first:last])
            ]

        def step(carry, x):
            args = [*values[:first], *carry, *x]
            results = self._program(params["jaxpr"], args, active)
            return lifted(results[: last - first]), results[last - first :]

        carry, ys = lax.scan(
            step,
            lifted(values[first:last]),
            values[last:],
            length=params["length"],
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
        return [*carry, *ys]

    def _cond(self, eqn, values, facts):
        if facts[0].active:
            raise _no_rule("cond", " by what depends on the clip")
        active = [
            fact.active or isinstance(value, Moved)
            for fact, value in zip(facts, values)
        ]

        def evaluated(branch, *values):
            results = self._program(branch, list(values), active[1:])
            return [self.lifted(value) for value in results]

        branches = [functools.partial(evaluated, b) for b in eqn.params["branches"]]
        return lax.switch(values[0], branches, *values[1:])

    def _while(self, eqn, values, facts):
        raise _no_rule("while", " whose number of rounds is open")


def _of_moving(operation, values, which):
    """An operation as a function of those operands only that depend on the clip."""

    def of_moving(*moving):
        operands = list(values)
        for i, x in zip(which, moving):
            operands[i] = x
        return operation(*operands)

    return of_moving


def _after(operation, chains) -> Function:
    """An operation on functions of one root, as a function of that root."""
    return lambda z: operation(*(chain.function(z) for chain in chains))


def _rectified(kind) -> Callable[[jax.Array], jax.Array]:
    """A ReLU whose derivative at 0 is 0, in every spelling."""
    function = jax.custom_jvp(kind)
    function.defjvp(lambda x, dx: (kind(*x), kind.derivative(*x) * dx[0]))
    return function


def _unrounded(eqn):
    """The equation, unless it would round a move to a narrow dtype."""
    dtype = eqn.params.get("new_dtype")
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        return eqn
    return eqn.replace(params={**eqn.params, "new_dtype": jnp.dtype(wide(dtype))})


def _plain(value):
    return value.value if isinstance(value, Moved) else value


def _is_float(value):
    return jnp.issubdtype(value.dtype, jnp.floating)


def _no_rule(name, how=""):
    return ValueError(
        f"`f` has an operation without a rule for deep_lift: {name}{how}. "
        "integrated_gradients takes any network, and is complete with enough steps."
    )
