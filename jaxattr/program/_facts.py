"""What is known of the values of a program before it runs.

A rule must tell a bias from a residual branch, a gate from a scale, and a ReLU in any
spelling from a maximum: by which operands depend on the clip, and which are uniform.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

See = Callable[[JaxprEqn, list["Fact"]], None]


class Fact(NamedTuple):
    """What is known of one value.

    Attributes:
      active: whether it depends on the clip.
      origin: stands for the value; two variables of one origin are equal but for dtype.
      uniform: the number that every element is, if that is known.
      scaled: (origin, factor) if it is another value times a number.
      where: (origin, positive) if it is 1 or True where another value is positive, or
        where that is not, and 0 or False elsewhere. What zero counts as is left open.
    """

    active: bool
    origin: object
    uniform: float | None = None
    scaled: tuple[object, float] | None = None
    where: tuple[object, bool] | None = None


def fresh(active: bool) -> Fact:
    """A value of which nothing else is known."""
    return Fact(active, object())


def fact_of_literal(literal: Literal) -> Fact:
    """A number in the text of the program."""
    value = np.asarray(literal.val) if np.isscalar(literal.val) else literal.val
    if getattr(value, "size", 0) != 1 or np.iscomplexobj(value):
        return fresh(False)
    return fresh(False)._replace(uniform=float(value))


def infer(jaxpr: Jaxpr, facts: Sequence[Fact], see: See | None = None) -> list[Fact]:
    """Facts of the results, from those of the arguments.

    Args:
      jaxpr: the program.
      facts: one for each of `jaxpr.invars`.
      see: called once for every equation that carries no program, in bodies too, in
        the order of evaluation.
    """
    known = {var: fresh(False) for var in jaxpr.constvars}
    known.update(zip(jaxpr.invars, facts, strict=True))

    def read(atom):
        return fact_of_literal(atom) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        results = outcome(eqn, [read(atom) for atom in eqn.invars], see)
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def outcome(eqn: JaxprEqn, facts: list[Fact], see: See | None = None) -> list[Fact]:
    """Facts of the results of one equation; `see` as in `infer`."""
    infer_body = _BODIES.get(eqn.primitive.name)
    if infer_body is not None:
        return infer_body(eqn, facts, see)
    if see is not None:
        see(eqn, facts)
    return _derive(eqn, facts)


def carried(body: Jaxpr, facts: Sequence[Fact], first: int, last: int) -> list[Fact]:
    """Facts of a loop body's arguments that hold in every round of the loop.

    Args:
      body: what is looped.
      facts: of its arguments in the first round.
      first: its carry are the arguments `first` to `last`, and its first results.
      last: see `first`.
    """
    facts = [
        fresh(fact.active) if first <= i < last else fact
        for i, fact in enumerate(facts)
    ]
    while True:
        results = infer(body, facts)
        wider = [
            fact._replace(active=fact.active or results[i - first].active)
            if first <= i < last
            else fact
            for i, fact in enumerate(facts)
        ]
        if wider == facts:
            return facts
        facts = wider


def opened(program: ClosedJaxpr | Jaxpr) -> tuple[Jaxpr, Sequence[Any]]:
    """A program and its constants."""
    if isinstance(program, ClosedJaxpr):
        return program.jaxpr, program.consts
    return program, ()


def bodies(eqn: JaxprEqn) -> Iterator[Jaxpr]:
    """The programs of an equation into which an evaluation enters."""
    name, params = eqn.primitive.name, eqn.params
    if name in ("jit", "pjit", "scan", "remat2", "checkpoint"):
        yield opened(params["jaxpr"])[0]
    elif name in ("closed_call", "core_call"):
        yield opened(params["call_jaxpr"])[0]
    elif name == "while":
        yield opened(params["cond_jaxpr"])[0]
        yield opened(params["body_jaxpr"])[0]
    elif name == "cond":
        for branch in params["branches"]:
            yield opened(branch)[0]


def _call(eqn, facts, see):
    (body,) = bodies(eqn)
    return infer(body, facts, see)


def _scan(eqn, facts, see):
    first = eqn.params["num_consts"]
    last = first + eqn.params["num_carry"]
    (body,) = bodies(eqn)
    # A row of xs is not the value that the scan was given.
    facts = [
        f if i < last else f._replace(origin=object()) for i, f in enumerate(facts)
    ]
    results = infer(body, carried(body, facts, first, last), see)
    return [fresh(fact.active) for fact in results]


def _while(eqn, facts, see):
    first, consts = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    proceed, body = bodies(eqn)
    inner = carried(body, facts[first:], consts, len(facts) - first)
    infer(proceed, [*facts[:first], *inner[consts:]], see)
    return [fresh(fact.active) for fact in infer(body, inner, see)]


def _cond(eqn, facts, see):
    branches = [infer(body, facts[1:], see) for body in bodies(eqn)]
    index = facts[0].active
    return [fresh(index or any(f.active for f in group)) for group in zip(*branches)]


_BODIES = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call"), _call),
    **dict.fromkeys(("remat2", "checkpoint"), _call),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}

# The same value, and the same number everywhere in another shape.
_SAME = ("convert_element_type", "copy", "copy_p", "name", "sharding_constraint")
_UNIFORM = ("broadcast_in_dim", "reshape", "squeeze", "transpose", "slice", "rev")
_IS_POSITIVE = {"gt": True, "ge": True, "lt": False, "le": False}


def _derive(eqn, facts):
    name = eqn.primitive.name
    active = any(fact.active for fact in facts)
    if name in _SAME:
        return [facts[0]]
    result = fresh(active)
    if name in _UNIFORM or name == "stop_gradient":
        result = result._replace(uniform=facts[0].uniform)
    elif name in _IS_POSITIVE:
        for a, b, positive in (
            (*facts, _IS_POSITIVE[name]),
            (*facts[::-1], not _IS_POSITIVE[name]),
        ):
            if b.uniform == 0:
                result = result._replace(where=(a.origin, positive))
    elif name == "not" and facts[0].where is not None:
        origin, positive = facts[0].where
        result = result._replace(where=(origin, not positive))
    elif name == "mul":
        for a, b in (facts, facts[::-1]):
            if b.uniform is not None:
                result = result._replace(scaled=(a.origin, b.uniform))
    elif name == "neg" and facts[0].uniform is not None:
        result = result._replace(uniform=-facts[0].uniform)
    return [result for _ in eqn.outvars]
