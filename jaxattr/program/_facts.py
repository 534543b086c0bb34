"""What is known of the values of a program before it runs.

A rule must tell a bias from a residual branch, a gate from a scale, and a ReLU in any
spelling from a maximum: by which operands depend on the clip, and which are uniform.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

_LARGEST = 1 << 20  # Elements of a constant that is read; it may live on a device.
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
      of: origins of values of each of which it is a function, element by element.
      contents: the origin of the value whose elements it has in another order or shape;
        None stands for its own.
      made: how it came of another value, on the way to a soft-max and beyond.
      mixed: whether it depends on the clip through a product with weights.
      gate: whether it is what signals are gated by: a sigmoid, the deviation that a
        norm divides by, or made of one and of what does not depend on the clip.
    """

    active: bool
    origin: object
    uniform: float | None = None
    scaled: tuple[object, float] | None = None
    where: tuple[object, bool] | None = None
    of: frozenset[object] = frozenset()
    contents: object = None
    made: "Made | None" = None
    mixed: bool = False
    gate: bool = False

    @property
    def argument(self) -> object:
        """The origin of the value, or of that of which it is a multiple."""
        return self.origin if self.scaled is None else self.scaled[0]


class Made(NamedTuple):
    """A step of a soft-max, or of a variance.

    Attributes:
      kind: "max", "shifted" (less its maximum), "exp", "sum" or "softmax"; "square",
        "squares" (their sum, or mean) or "variance" (these less a square).
      origin: of the value that the maximum, the exponential or the soft-max is of; of
        the exponential, in a sum.
      axes: over which the sum or the soft-max goes; of what is shifted and of its
        exponential, those along which the shift does not vary.
      eqn: the division that makes a soft-max, or what masks it.
    """

    kind: str
    origin: object
    axes: tuple[int, ...] = ()
    eqn: JaxprEqn | None = None


def fresh(active: bool, mixed: bool = False) -> Fact:
    """A value of which nothing else is known."""
    return Fact(active, object(), mixed=mixed)


def fact_of_literal(literal: Literal) -> Fact:
    """A number in the text of the program."""
    value = np.asarray(literal.val) if np.isscalar(literal.val) else literal.val
    if getattr(value, "size", 0) != 1 or np.iscomplexobj(value):
        return fresh(False)
    return fresh(False)._replace(uniform=float(value))


def constant(value: Any) -> Fact:
    """A number or an array that the program closes over."""
    fact, dtype = fresh(False), getattr(value, "dtype", None)
    is_real = dtype is not None and (
        jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    )
    if not is_real or not 0 < value.size <= _LARGEST:
        return fact
    if isinstance(value, jax.core.Tracer):
        return fact
    if not getattr(value, "is_fully_addressable", True):
        return fact
    flat = np.asarray(value).reshape(-1)
    if (flat != flat[0]).any():
        return fact
    return fact._replace(uniform=float(flat[0]))


def infer(
    jaxpr: Jaxpr,
    facts: Sequence[Fact],
    see: See | None = None,
    consts: Sequence[Any] | None = None,
) -> list[Fact]:
    """Facts of the results, from those of the arguments.

    Args:
      jaxpr: the program.
      facts: one for each of `jaxpr.invars`.
      see: called once for every equation that carries no program, in bodies too, in
        the order of evaluation.
      consts: values of `jaxpr.constvars`; without them nothing is known of these.
    """
    known = {var: fresh(False) for var in jaxpr.constvars}
    if consts is not None:
        known = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
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
        fresh(fact.active, fact.mixed) if first <= i < last else fact
        for i, fact in enumerate(facts)
    ]
    while True:
        results = infer(body, facts)
        wider = [
            fact._replace(
                active=fact.active or results[i - first].active,
                mixed=fact.mixed or results[i - first].mixed,
            )
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
    elif name == "custom_vmap_call":
        yield opened(params["call"])[0]
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
    return [fresh(f.active, f.mixed)._replace(gate=f.gate) for f in results]


def _while(eqn, facts, see):
    first, consts = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    proceed, body = bodies(eqn)
    inner = carried(body, facts[first:], consts, len(facts) - first)
    infer(proceed, [*facts[:first], *inner[consts:]], see)
    # The body may never run: what comes out may be what went in.
    return [fresh(fact.active, fact.mixed) for fact in infer(body, inner, see)]


def _cond(eqn, facts, see):
    branches = [infer(body, facts[1:], see) for body in bodies(eqn)]
    index = facts[0].active
    return [
        fresh(
            index or any(f.active for f in group), any(f.mixed for f in group)
        )._replace(gate=all(f.gate for f in group))
        for group in zip(*branches)
    ]


_BODIES = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call"), _call),
    **dict.fromkeys(("remat2", "checkpoint", "custom_vmap_call"), _call),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}

PRODUCTS = frozenset(("conv_general_dilated", "dot_general"))
# A sigmoid, and the deviation that a norm divides by.
GATES = frozenset(("logistic", "sqrt", "rsqrt"))
# What comes of a gate and a constant, as in 1 - z, is a gate too.
_OF_A_GATE = frozenset(
    {*("reshape", "squeeze", "transpose", "broadcast_in_dim", "slice")}
    | {*("neg", "add", "sub", "mul", "div", "reduce_sum")}
)
# The same value, and the same number everywhere in another shape.
_SAME = ("convert_element_type", "copy", "copy_p", "name", "sharding_constraint")
_UNIFORM = ("broadcast_in_dim", "reshape", "squeeze", "transpose", "slice", "rev")
_IS_POSITIVE = {"gt": True, "ge": True, "lt": False, "le": False}
_MOVED = ("broadcast_in_dim", "reshape", "squeeze", "transpose")
_STEPS = frozenset(
    {*("reduce_max", "reduce_sum", "exp", "max", "sub", "div", "mul", "stop_gradient")}
    | {*("square", "integer_pow", "select_n", *_UNIFORM)}
)
ELEMENTWISE = frozenset(
    {*("add", "sub", "mul", "div", "max", "min", "select_n", "clamp", "neg", "abs")}
    | {*("exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "erf", "erfc")}
    | {*("sqrt", "rsqrt", "cbrt", "square", "integer_pow", "pow", "sign", "erf_inv")}
    | {*("sin", "cos", "tan", "sinh", "cosh", "asin", "acos", "atan", "atan2")}
    | {*("asinh", "acosh", "atanh", "lgamma", "digamma", "floor", "ceil", "round")}
    | {*("gt", "ge", "lt", "le", "eq", "ne", "not", "and", "or", "xor")}
    | {*("rem", "nextafter", "is_finite")}
)
# They hold a program of which the derivative is the user's.
CALLS = frozenset(("custom_jvp_call", "custom_vjp_call"))


def _derive(eqn, facts):
    name = eqn.primitive.name
    if not eqn.outvars:
        return []
    if name in _SAME:
        return [facts[0]]
    active = any(fact.active for fact in facts)
    mixed = any(fact.mixed for fact in facts) or (active and name in PRODUCTS)
    of_a_gate = [fact.gate for fact in facts if fact.active] == [True]
    gate = active and (name in GATES or (of_a_gate and name in _OF_A_GATE))
    result = fresh(active, mixed)._replace(gate=gate)
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
    elif name == "ne" and facts[0].origin is facts[1].origin:
        result = result._replace(uniform=0.0)  # Whether it is NaN, which it is not.
    elif name == "or":
        for a, b in (facts, facts[::-1]):
            if b.uniform == 0:
                result = result._replace(where=a.where, uniform=a.uniform)
    elif name == "select_n" and len(facts) == 3:
        result = _selected(result, *facts)
    elif name == "mul":
        for a, b in (facts, facts[::-1]):
            if b.uniform is not None:
                result = result._replace(scaled=(a.origin, b.uniform))
    elif name == "neg" and facts[0].uniform is not None:
        result = result._replace(uniform=-facts[0].uniform)
    result = result._replace(of=_of(eqn, facts), made=_made(eqn, facts))
    if name in _MOVED:
        result = result._replace(contents=facts[0].contents or facts[0].origin)
    return [result._replace(origin=object()) for _ in eqn.outvars]


def _selected(result, which, off, on):
    """Of two cases the one that is always taken; or 1 where a value is positive."""
    if which.uniform is not None:
        case = on if which.uniform else off
        return result._replace(uniform=case.uniform, where=case.where)
    if which.where is None:
        return result
    origin, positive = which.where
    if not positive:
        off, on = on, off

    def number(case, at):  # What a case is where the value is positive, or is not.
        return at if case.where == (origin, True) else case.uniform

    step = number(off, 0), number(on, 1)
    if step in ((0, 1), (1, 0)):
        result = result._replace(where=(origin, step == (0, 1)))
    return result


def _of(eqn, facts):
    """What a result is a function of, element by element."""
    if eqn.primitive.name in CALLS:
        body, consts = opened(eqn.params["call_jaxpr"])
        return infer(body, facts, consts=consts)[0].of
    shape = getattr(eqn.outvars[0].aval, "shape", None)
    active = [(a, f) for a, f in zip(eqn.invars, facts) if f.active]
    if eqn.primitive.name not in ELEMENTWISE or not active:
        return frozenset()
    if any(atom.aval.shape != shape for atom, _ in active):
        return frozenset()
    return frozenset.intersection(*(fact.of | {fact.origin} for _, fact in active))


def _made(eqn, facts):
    """How a result came about, if it is a step of a soft-max."""
    name = eqn.primitive.name
    if name not in _STEPS:
        return None
    first = facts[0]
    made, kind = first.made, first.made and first.made.kind
    if name == "reduce_max":
        return Made("max", first.contents or first.origin)
    if name == "reduce_sum" and kind in ("square", "squares"):
        return Made("squares", first.origin)
    if name == "reduce_sum":
        return Made("sum", first.origin, eqn.params["axes"]) if kind == "exp" else None
    if name in ("square", "integer_pow"):
        return Made("square", first.origin) if eqn.params.get("y", 2) == 2 else None
    if name == "select_n":
        return _masked(eqn, facts)
    if name == "exp":
        axes = tuple(range(len(eqn.invars[0].aval.shape)))
        shifted = kind == "shifted"
        return made._replace(kind="exp") if shifted else Made("exp", first.origin, axes)
    if name in ("max", "sub", "div", "mul"):
        return _of_two(name, eqn, *facts)
    carried = ("max", "softmax", "square", "squares")
    if name != "transpose":
        carried += ("sum",)
    return made if kind in carried else None


def _masked(eqn, facts):
    """A soft-max of which parts are replaced, at places that do not depend on it."""
    made = [fact.made for fact in facts[1:] if fact.active]
    if facts[0].active or not made or not all(m and m.kind == "softmax" for m in made):
        return None
    return made[0]._replace(eqn=eqn)


def _of_two(name, eqn, a, b):
    kinds = [fact.made and fact.made.kind for fact in (a, b)]
    if name == "mul" and a.origin is b.origin:
        return Made("square", a.origin)
    if name in ("mul", "div"):  # A mean is a sum times or divided by a number.
        for kind, fact, other in ((kinds[0], a, b), (kinds[1], b, a)):
            if kind in ("square", "squares") and other.uniform is not None:
                return fact.made
    if name == "sub" and kinds == ["squares", "square"]:
        return Made("variance", a.origin)
    if name == "max":  # A maximum that does not fall below a number.
        kept = a if b.uniform is not None else b
        return kept.made if "max" in kinds else None
    if name == "sub" and kinds[1] == "max":
        shift = eqn.invars[1].aval.shape
        axes = tuple(i for i, n in enumerate(shift) if n == 1)
        same = b.made.origin is (a.contents or a.origin)
        return Made("shifted", a.origin, axes) if same else None
    if name == "div" and kinds == ["exp", "sum"] and b.made.origin is a.origin:
        whole = set(b.made.axes) <= set(a.made.axes)
        return Made("softmax", a.made.origin, b.made.axes, eqn) if whole else None
    return None
