"""Loops of an open number of rounds, through which nothing can be propagated back."""

import contextlib
from collections.abc import Iterator

from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jaxattr.program._taps import place
from jaxattr.program._trace import Traced

_OF_JAX = "Reverse-mode differentiation does not work for lax.while_loop"


@contextlib.contextmanager
def loops_explained(network: Traced) -> Iterator[None]:
    """Says of JAX's error about a `while_loop` which it is, and what to do."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(_OF_JAX):
            raise
        active: set[int] = set()
        network.survey(
            lambda eqn, facts: (
                active.add(id(eqn)) if any(fact.active for fact in facts) else None
            )
        )
        places = " and ".join(_places(network.jaxpr, active)) or "in the score"
        raise ValueError(
            f"`f` has a `while_loop` ({places}), through which nothing can be "
            "propagated back: write it as `scan` or as `fori_loop` with static bounds, "
            "or take a black-box method such as rise or occlusion."
        ) from error


def _places(jaxpr: Jaxpr, active: set[int]) -> Iterator[str]:
    """Where the loops are that depend on the clip, from outside inward."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "while" and _any_of(eqn, active):
            yield place(eqn)
        for body in jaxprs_in_params(eqn.params):
            yield from _places(body, active)


def _any_of(eqn: JaxprEqn, wanted: set[int]) -> bool:
    return any(
        id(inner) in wanted or _any_of(inner, wanted)
        for body in jaxprs_in_params(eqn.params)
        for inner in body.eqns
    )
