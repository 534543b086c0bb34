"""Attention maps of a program: found by what they are, and named as taps."""

from collections.abc import Iterator, Set
from typing import NamedTuple

from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Jaxpr

from jaxattr.program._facts import bodies
from jaxattr.program._interpreter import Rule
from jaxattr.program._taps import MODULE, sites
from jaxattr.program._trace import Traced, trace

NAME = "attention_map"


class Map(NamedTuple):
    """An attention map, as it is evaluated.

    Attributes:
      tap: by which it is found: "attention_map#0", or "attention_map" for a single one.
      index: in the tap, one number for each `scan` around it.
    """

    tap: str
    index: tuple[int, ...]


def with_attention(network: Traced) -> Traced:
    """The network whose attention maps are taps, "attention_map#0" and so on.

    An attention map is a soft-max that a product multiplies with something else that
    depends on the clip. It has the axes [..., heads, queries, keys] that its author
    gave it. A network without one is returned as it is.
    """
    return with_names(network, _attention(network), NAME)


def with_names(network: Traced, equations: Set[int], name: str) -> Traced:
    """The network in which the results of some equations are taps.

    Args:
      network: returned as it is if there are no such equations.
      equations: by id, each with one result.
      name: of the taps, numbered if there are several.
    """
    if not equations:
        return network

    def named(eqn, values, facts):
        if id(eqn) not in equations:
            return None
        (value,) = network.run(eqn, values)
        return [checkpoint_name(value, MODULE + name)]

    return trace(network.under(named), network.clip, fold=False)


def unnamed(name: str | None = None) -> Rule:
    """The rule under which values lose a name that `with_names` gave, or any name.

    What is evaluated under it can be evaluated within another program: its taps are
    not taps of that.
    """

    def rule(eqn, values, facts):
        if eqn.primitive.name != "name":
            return None
        known = name is None or eqn.params["name"] == MODULE + name
        return [values[0]] if known else None

    return rule


def maps(network: Traced) -> list[Map]:
    """The attention maps of what `with_attention` gives, in order of evaluation.

    Raises:
      ValueError: one is inside a `cond` or `while`: how often it acts is not known.
    """
    if any(s.hidden and s.name == MODULE + NAME for s in sites(network.jaxpr)):
        raise ValueError(
            "`f` has attention inside a `cond` or a `while`, which cannot be seen: "
            "call the branch that is meant, or a `scan`."
        )
    found = list(_walk(network.jaxpr, [0]))
    several = len({number for number, _ in found}) > 1
    return [Map(f"{NAME}#{n}" if several else NAME, index) for n, index in found]


def is_attention(tap: str) -> bool:
    """Whether a tap of `with_attention` is an attention map."""
    return tap.partition("#")[0] == NAME


def _attention(network):
    """Identities of the divisions that make an attention map."""
    found = set()

    def see(eqn, facts):
        products = ("dot_general", "conv_general_dilated")
        if eqn.primitive.name in products and all(fact.active for fact in facts):
            made = [fact.made for fact in facts if fact.made is not None]
            found.update(id(m.eqn) for m in made if m.kind == "softmax")

    network.survey(see)
    return found


def _walk(jaxpr: Jaxpr, count: list[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "name" and eqn.params["name"] == MODULE + NAME:
            yield count[0], ()
            count[0] += 1
        if name in ("cond", "while"):
            continue  # What is in there is no tap.
        inside = [found for body in bodies(eqn) for found in _walk(body, count)]
        if name != "scan":
            yield from inside
            continue
        steps = range(eqn.params["length"])
        for step in reversed(steps) if eqn.params["reverse"] else steps:
            yield from ((number, (step, *index)) for number, index in inside)
