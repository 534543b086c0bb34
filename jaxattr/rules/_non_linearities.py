"""The non-linearities of a program, each where its result is made."""

from jaxattr.program import Traced
from jaxattr.rules._rectifier import rectifier

_ALONE = frozenset(("tanh", "logistic", "erf", "sin", "cos", "custom_jvp_call"))


def non_linearities(network: Traced) -> frozenset[int]:
    """Ids of the equations that make the result of an element-wise non-linearity.

    ReLUs in any spelling, sigmoids and hyperbolic tangents, and functions in several
    operations of which only the last counts: gelu, swish, elu. Not a soft-max, nor the
    reciprocal root of a layer norm.
    """
    found: dict[int, frozenset[object]] = {}

    def see(eqn, facts):
        active = [fact for fact in facts if fact.active]
        if rectifier(eqn, facts) is not None or (
            len(active) == 1 and eqn.primitive.name in _ALONE
        ):
            found[id(eqn)] = active[-1].of | {active[-1].origin}
        elif eqn.primitive.name in ("mul", "select_n") and len(active) > 1:
            argument = _argument(active)
            for inner in [e for e, of in found.items() if argument in of]:
                del found[inner]
            if argument is not None:
                found[id(eqn)] = frozenset((argument,))

    network.survey(see)
    return frozenset(found)


def _argument(facts):
    """The value of which all these are functions, if one of them is that value."""
    for fact in facts:
        others = [other for other in facts if other is not fact]
        if others and all(fact.argument in other.of for other in others):
            return fact.argument
    return None
