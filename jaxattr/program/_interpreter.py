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


def evaluate(
    jaxpr: Jaxpr,
    consts: Sequence[Any],
    args: Sequence[Any],
    rule: Rule,
    *,
    active: Sequence[bool] | None = None,
    taps: Taps | None = None,
    lift: Callable[[Any], Any] = lambda value: value,
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

    Returns:
      The values of `jaxpr.outvars`.
    """
    active = [True] * len(args) if active is None else active
    run = _Run(rule, Taps.none() if taps is None else taps, lift)
    return run.program(jaxpr, consts, args, [fresh(a) for a in active])


class _Run(NamedTuple):
    """What does not change from equation to equation."""

    rule: Rule
    taps: Taps
    lift: Callable[[Any], Any]

    def program(self, jaxpr, consts, args, facts):
        env = dict(zip(jaxpr.constvars, map(self.lift, consts), strict=True))
        env.update(zip(jaxpr.invars, map(self.lift, args), strict=True))
        known = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
        known.update(zip(jaxpr.invars, facts, strict=True))
        for eqn in jaxpr.eqns:
            atoms = eqn.invars
            values = [
                self.lift(a.val) if isinstance(a, Literal) else env[a] for a in atoms
            ]
            facts = [
                fact_of_literal(a) if isinstance(a, Literal) else known[a]
                for a in atoms
            ]
            results = self.rule(eqn, values, facts)
            if results is None:
                rebuild = _REBUILD.get(eqn.primitive.name)
                results = (
                    replay(eqn, values, jaxpr)
                    if rebuild is None
                    else rebuild(self, eqn, values, facts)
                )
            if eqn.primitive.name == "name":
                results = [self.taps.at(eqn.params["name"], results[0])]
            env.update(zip(eqn.outvars, results, strict=True))
            known.update(zip(eqn.outvars, outcome(eqn, facts), strict=True))
        return [
            self.lift(a.val) if isinstance(a, Literal) else env[a]
            for a in jaxpr.outvars
        ]

    def body(self, program, values, facts):
        """Evaluates a body in place: its taps are those of the whole."""
        jaxpr, consts = opened(program)
        return self.program(jaxpr, consts, values, facts)

    def apart(self, program, facts):
        """A body as a function `(inject, *values) -> (results, found taps)`."""

        def evaluated(inject, *values):
            run = self._replace(taps=self.taps.inside(inject))
            results = run.body(program, values, facts)
            return results, run.taps.found

        return evaluated

    def whole(self, program, facts):
        """A body as a function `(*values) -> results`; there are no taps in it."""
        return lambda *values: self.apart(program, facts)({}, *values)[0]


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
    params = eqn.params
    results, found = jax.checkpoint(
        run.apart(params["jaxpr"], facts),
        prevent_cse=params["prevent_cse"],
        policy=params["policy"],
    )(run.taps.injected(*bodies(eqn)), *values)
    run.taps.leave(found, *bodies(eqn))
    return results


def _scan(run, eqn, values, facts):
    params = eqn.params
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, init, xs = values[:first], values[first:last], values[last:]
    (jaxpr,) = bodies(eqn)
    row = [fact._replace(origin=object()) for fact in facts[last:]]
    facts = carried(jaxpr, [*facts[:last], *row], first, last)
    body = run.apart(params["jaxpr"], facts)

    def step(carry, x):
        inject, x = x
        results, found = body(inject, *consts, *carry, *x)
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
    return [*carry, *ys]


def _while(run, eqn, values, facts):
    params = eqn.params
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    _, jaxpr = bodies(eqn)
    inner = carried(jaxpr, facts[first:], last - first, len(values) - first)
    state = inner[last - first :]
    proceed = run.whole(params["cond_jaxpr"], [*facts[:first], *state])
    body = run.whole(params["body_jaxpr"], inner)
    return lax.while_loop(
        lambda state: proceed(*values[:first], *state)[0],
        lambda state: body(*values[first:last], *state),
        values[last:],
    )


def _cond(run, eqn, values, facts):
    branches = [run.whole(branch, facts[1:]) for branch in eqn.params["branches"]]
    return lax.switch(values[0], branches, *values[1:])


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
