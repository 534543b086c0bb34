"""Re-evaluates a traced program, letting a rule replace chosen operations.

Every program transform here (folding convolutions, backward rules, taps) is one rule
given to `evaluate`. Rules attach to operations, so they reach into `jit`, `checkpoint`,
`scan`, `cond` and `while` bodies of any JAX program without a hook in the model.
Primitives are recognised by name and rebuilt by public functions, because neither the
primitive objects nor their `bind` parameters are stable between versions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from jaxattr.program._facts import (
    Fact,
    bodies,
    carried,
    constant,
    fact_of_literal,
    fresh,
    opened,
    outcome,
)
from jaxattr.program._taps import Taps

# Given an equation, the values of its operands and what is known of them, the values
# of its results; or None to leave the equation as it is.
Rule = Callable[[JaxprEqn, list[Any], list[Fact]], Sequence[Any] | None]
# What a rule remembers of values that leave a body which is traced apart: arrays, and
# `tell(values, arrays)`, by which it remembers the same of what they are outside.
Leaving = Callable[[list[Any]], tuple[Any, Callable[[list[Any], Any], None]]]


def evaluate(
    jaxpr: Jaxpr,
    consts: Sequence[Any],
    args: Sequence[Any],
    rule: Rule,
    *,
    active: Sequence[bool] | None = None,
    taps: Taps | None = None,
    lift: Callable[[Any], Any] = lambda value: value,
    leaving: Leaving | None = None,
) -> list[Any]:
    """Evaluates a jaxpr, asking `rule` first at every equation.

    A rule that answers None everywhere gives the program itself, bit for bit (its
    gradient too, up to the order in which the cotangents of a value are added: calls
    are inlined). `checkpoint`, `scan`, `cond` and `while` are rebuilt around bodies
    that are evaluated in the same way. Everything else is replayed as it is.

    A `custom_vmap_call` is its body: JAX does not differentiate it.

    `custom_jvp_call` and `custom_vjp_call` are replayed whole: their derivative was
    written by the user for exactly that body, and under differentiation JAX runs the
    user's rule, not the body, so that a change inside would show in the value and
    not in the gradient. A rule sees such a call as one equation and may replace it.

    Args:
      jaxpr: the program.
      consts: values of `jaxpr.constvars`.
      args: values of `jaxpr.invars`.
      rule: `rule(eqn, values, facts) -> results | None`.
      active: which arguments depend on the clip; None says all.
      taps: collects the named values, and says what to add to them.
      lift: what is taken for every argument, constant and literal.
      leaving: of a rule that remembers values: what it takes out of a `checkpoint`.

    Returns:
      The values of `jaxpr.outvars`.
    """
    active = [True] * len(args) if active is None else active
    taps = Taps.none() if taps is None else taps
    run = _Run(rule, taps, lift, _forget if leaving is None else leaving)
    return run.program(jaxpr, consts, args, [fresh(a) for a in active])[0]


def _forget(results):
    """Takes nothing out of a body."""
    return None, lambda results, arrays: None


class _Run(NamedTuple):
    """What does not change from equation to equation."""

    rule: Rule
    taps: Taps
    lift: Callable[[Any], Any]
    leaving: Leaving

    def program(self, jaxpr, consts, args, facts):
        """The values of the results, and what is known of them."""
        env = dict(zip(jaxpr.constvars, map(self.lift, consts), strict=True))
        env.update(zip(jaxpr.invars, map(self.lift, args), strict=True))
        known = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
        known.update(zip(jaxpr.invars, facts, strict=True))

        def read(atoms):
            literal = [isinstance(atom, Literal) for atom in atoms]
            values = [
                self.lift(a.val) if is_one else env[a]
                for a, is_one in zip(atoms, literal)
            ]
            return values, [
                fact_of_literal(a) if is_one else known[a]
                for a, is_one in zip(atoms, literal)
            ]

        for eqn in jaxpr.eqns:
            values, facts = read(eqn.invars)
            rebuild = _REBUILD.get(eqn.primitive.name)
            results = self.rule(eqn, values, facts)
            if results is None and rebuild is not None:
                results, told = rebuild(self, eqn, values, facts)
            else:
                results = replay(eqn, values, jaxpr) if results is None else results
                told = outcome(eqn, facts)
            if eqn.primitive.name == "name":
                results = [self.taps.at(eqn.params["name"], results[0])]
            env.update(zip(eqn.outvars, results, strict=True))
            known.update(zip(eqn.outvars, told, strict=True))
        return read(jaxpr.outvars)

    def body(self, program, values, facts):
        """Evaluates a body in place: its taps are those of the whole."""
        jaxpr, consts = opened(program)
        return self.program(jaxpr, consts, values, facts)

    def apart(self, program, values, facts, inject):
        """Evaluates a body that is traced apart; gives what its taps have found, too.

        Where it can, it is called on the values themselves and not on arguments that
        stand for them: a rule that remembers values knows them again.
        """
        run = self._replace(taps=self.taps.inside(inject))
        return *run.body(program, values, facts), run.taps.found


def replay(eqn: JaxprEqn, values: Sequence[Any], jaxpr: Jaxpr) -> list[Any]:
    """Runs one equation as it is, with its context and source information."""
    bound = {a: v for a, v in zip(eqn.invars, values) if not isinstance(a, Literal)}
    alone = Jaxpr(
        [], list(bound), eqn.outvars, [eqn], eqn.effects, debug_info=jaxpr.debug_info
    )
    return jax.core.eval_jaxpr(alone, [], *bound.values())


def _call(run, eqn, values, facts):
    program = next(
        eqn.params[key] for key in ("jaxpr", "call_jaxpr", "call") if key in eqn.params
    )
    return run.body(program, values, facts)


def _checkpoint(run, eqn, values, facts):
    params, told = eqn.params, []

    def body(inject):
        results, known, found = run.apart(params["jaxpr"], values, facts, inject)
        arrays, tell = run.leaving(results)
        told[:] = known, tell
        return results, found, arrays

    results, found, arrays = jax.checkpoint(
        body,
        prevent_cse=bool(
            np.any(params["prevent_cse"])
        ),  # One for each operand, or all.
        policy=params["policy"],
    )(run.taps.injected(*bodies(eqn)))
    known, tell = told
    tell(results, arrays)
    run.taps.leave(found, *bodies(eqn))
    return results, known


def _scan(run, eqn, values, facts):
    params = eqn.params
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, init, xs = values[:first], values[first:last], values[last:]
    (jaxpr,) = bodies(eqn)
    row = [fact._replace(origin=object()) for fact in facts[last:]]
    inner = carried(jaxpr, [*facts[:last], *row], first, last)

    def step(carry, x):
        inject, x = x
        args = [*consts, *carry, *x]
        results, _, found = run.apart(params["jaxpr"], args, inner, inject)
        return results[: len(init)], (results[len(init) :], found)

    carry, (ys, found) = lax.scan(
        step,
        init,
        (run.taps.injected(jaxpr), xs),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    run.taps.leave(found, jaxpr)
    return [*carry, *ys], outcome(eqn, facts)


def _while(run, eqn, values, facts):
    params = eqn.params
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    _, jaxpr = bodies(eqn)
    inner = carried(jaxpr, facts[first:], last - first, len(values) - first)

    def proceed(state):
        args, told = [*values[:first], *state], [*facts[:first], *inner[last - first :]]
        return run.apart(params["cond_jaxpr"], args, told, {})[0][0]

    def body(state):
        args = [*values[first:last], *state]
        return run.apart(params["body_jaxpr"], args, inner, {})[0]

    return lax.while_loop(proceed, body, values[last:]), outcome(eqn, facts)


def _cond(run, eqn, values, facts):
    def call(branch):
        return lambda: run.apart(branch, values[1:], facts[1:], {})[0]

    calls = list(map(call, eqn.params["branches"]))
    return lax.switch(values[0], calls), outcome(eqn, facts)


# What carries a program in 0.10, and under its older names ("pjit", "checkpoint").
_REBUILD = {
    "jit": _call,
    "pjit": _call,
    "closed_call": _call,
    "core_call": _call,
    "custom_vmap_call": _call,
    "remat2": _checkpoint,
    "checkpoint": _checkpoint,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
