"""Re-evaluates a traced program, letting a rule replace chosen operations.

Every program transform here (folding convolutions; later taps and backward rules)
is one rule given to `evaluate`. Rules attach to operations, so they reach into `jit`,
`checkpoint`, `scan`, `cond` and `while` bodies of any JAX program without a hook in
the model. Primitives are recognised by name and rebuilt by public functions, because
neither the primitive objects nor their `bind` parameters are stable between versions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

# Given an equation and the values of its operands, the values of its results; or None
# to leave the equation as it is.
Rule = Callable[[JaxprEqn, list[Any]], Sequence[Any] | None]


def evaluate(
    jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], rule: Rule
) -> list[Any]:
    """Evaluates a jaxpr, asking `rule` first at every equation.

    A rule that answers None everywhere gives the program itself, bit for bit (its
    gradient too, up to the order in which the cotangents of a value are added: calls
    are inlined). `checkpoint`, `scan`, `cond` and `while` are rebuilt around bodies
    that are evaluated in the same way. Everything else is replayed as it is.

    `custom_jvp_call` and `custom_vjp_call` are replayed whole: their derivative was
    written by the user for exactly that body, and under differentiation JAX runs the
    user's rule, not the body, so that a change inside would show in the value and
    not in the gradient. A rule sees such a call as one equation and may replace it.

    Args:
      jaxpr: the program.
      consts: values of `jaxpr.constvars`.
      args: values of `jaxpr.invars`.
      rule: `rule(eqn, values) -> results | None`.

    Returns:
      The values of `jaxpr.outvars`.
    """
    env = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else env[atom]

    for eqn in jaxpr.eqns:
        values = [read(atom) for atom in eqn.invars]
        results = rule(eqn, values)
        if results is None:
            rebuild = _REBUILD.get(eqn.primitive.name)
            results = (
                _replay(eqn, values, jaxpr)
                if rebuild is None
                else rebuild(eqn, values, rule)
            )
        env.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _replay(eqn, values, jaxpr):
    """Runs one equation as it is, with its context and source information."""
    bound = {a: v for a, v in zip(eqn.invars, values) if not isinstance(a, Literal)}
    alone = Jaxpr(
        [], list(bound), eqn.outvars, [eqn], eqn.effects, debug_info=jaxpr.debug_info
    )
    return jax.core.eval_jaxpr(alone, [], *bound.values())


def _body(program, rule):
    """The flat function of a closed or open jaxpr, evaluated under `rule`."""
    if isinstance(program, ClosedJaxpr):
        return lambda *args: evaluate(program.jaxpr, program.consts, args, rule)
    return lambda *args: evaluate(program, [], args, rule)


def _call(eqn, values, rule):
    return _body(eqn.params["jaxpr"], rule)(*values)


def _closed_call(eqn, values, rule):
    return _body(eqn.params["call_jaxpr"], rule)(*values)


def _checkpoint(eqn, values, rule):
    params = eqn.params
    return jax.checkpoint(
        _body(params["jaxpr"], rule),
        prevent_cse=params["prevent_cse"],
        policy=params["policy"],
    )(*values)


def _scan(eqn, values, rule):
    params = eqn.params
    body = _body(params["jaxpr"], rule)
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, init, xs = values[:first], values[first:last], values[last:]

    def step(carry, x):
        results = body(*consts, *carry, *x)
        return results[: len(init)], results[len(init) :]

    carry, ys = lax.scan(
        step,
        init,
        xs,
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys]


def _while(eqn, values, rule):
    params = eqn.params
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    proceed = _body(params["cond_jaxpr"], rule)
    body = _body(params["body_jaxpr"], rule)
    return lax.while_loop(
        lambda state: proceed(*values[:first], *state)[0],
        lambda state: body(*values[first:last], *state),
        values[last:],
    )


def _cond(eqn, values, rule):
    branches = [_body(branch, rule) for branch in eqn.params["branches"]]
    return lax.switch(values[0], branches, *values[1:])


# What carries a program in 0.10, and under its older names ("pjit", "checkpoint").
_REBUILD = {
    "jit": _call,
    "pjit": _call,
    "closed_call": _closed_call,
    "core_call": _closed_call,
    "remat2": _checkpoint,
    "checkpoint": _checkpoint,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
