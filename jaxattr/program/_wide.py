"""Backward passes in float32 through a network that computes in something narrower.

The cotangent of a value has its dtype: in a bfloat16 network relevance would be rounded
to three digits at every operation. Here all values are kept in float32 or wider. An
equation still gives what it gives in the network's own dtypes, but its derivative, or
what a rule makes of it, is that of the same operation in float32 on these values.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxattr._clip import wide
from jaxattr.program._facts import Fact, bodies

# An equation and the values of its operands -> those of its results.
Apply = Callable[[JaxprEqn, list[Any]], Sequence[Any]]


def is_narrow(dtype: Any) -> bool:
    """Whether it is floating point of fewer bits than float32."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype) != wide(dtype)


def lift(value: Any) -> Any:
    """A value in float32 if its dtype is narrower."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not is_narrow(dtype):
        return value
    return jnp.asarray(value).astype(wide(dtype))


def widened(rule, own: Apply, apply: Apply):
    """A rule on wide values from one on the network's.

    Args:
      rule: asked first for what an equation does on wide values. What it remembers of a
        value it is told by `rule.follow(made, value)`, if it has such a method: the
        value that goes on is another array than the one it made. If it carries other
        things than arrays, `rule.plain(thing)` is the array, and `rule.valued(thing,
        array)` the thing around another.
      own: an equation on values of its own dtypes.
      apply: an equation on wide ones.
    """
    follow = getattr(rule, "follow", lambda made, value: None)
    plain = getattr(rule, "plain", lambda value: value)
    valued = getattr(rule, "valued", _valued)

    def wide_rule(eqn: JaxprEqn, values: list[Any], facts: list[Fact]):
        atoms = (*eqn.invars, *eqn.outvars)
        touches = any(is_narrow(getattr(a.aval, "dtype", jnp.int32)) for a in atoms)
        if any(bodies(eqn)) or not touches:
            return rule(eqn, values, facts)
        inputs = [
            value.astype(atom.aval.dtype) if is_narrow(atom.aval.dtype) else value
            for value, atom in zip(map(plain, values), eqn.invars)
        ]
        results = [_rounded(result) for result in own(eqn, inputs)]
        if not any(fact.active for fact in facts):
            return results
        made = rule(eqn, values, facts)
        if made is None and _has_programs(eqn):
            return results  # Its derivative was written for its own dtypes.
        made = apply(eqn, values) if made is None else made
        for i, (smooth, result) in enumerate(zip(made, results, strict=True)):
            if jnp.issubdtype(result.dtype, jnp.floating):
                results[i] = valued(smooth, result)
            follow(smooth, results[i])
        return results

    return wide_rule


def _rounded(value):
    """`lift` of a result, which XLA may have left in float32 all the way."""
    if not is_narrow(value.dtype):
        return value
    kind = jnp.finfo(value.dtype)
    return jax.lax.reduce_precision(lift(value), kind.nexp, kind.nmant)


def wide_params(eqn: JaxprEqn, values: Sequence[Any]) -> dict[str, Any]:
    """The parameters of an equation on values that may be wider than its own."""
    pairs = zip(eqn.invars, values)
    if all(jnp.result_type(value) == atom.aval.dtype for atom, value in pairs):
        return eqn.params
    return {key: _wide_param(param) for key, param in eqn.params.items()}


def _wide_param(param):
    is_dtype = isinstance(param, jnp.dtype)
    return jnp.dtype(wide(param)) if is_dtype and is_narrow(param) else param


def _has_programs(eqn):
    """Whether a parameter holds a program, which tells dtypes of its own."""
    kinds = (Jaxpr, ClosedJaxpr)
    return any(isinstance(p, kinds) or callable(p) for p in eqn.params.values())


@jax.custom_vjp
def _valued(smooth, value):
    """`value` forward, `smooth` backward."""
    return value


_valued.defvjp(lambda smooth, value: (value, None), lambda _, r: (r, jnp.zeros_like(r)))
