"""Which sums in the body of a scan add what a cell remembers to what it is shown."""

from collections.abc import Mapping
from typing import Literal

from jax.extend import core
from jax.extend.core import Jaxpr

from jaxattr.program import Traced, bodies
from jaxattr.rules._operations import PRODUCTS

# The operand to which all goes; the plain derivative; or its share to each operand.
Split = int | Literal["derivative", "shares"]

_SUMS = ("add", "add_any")
# Of a product of the carry with weights these make another such product.
_KEEPS = frozenset(
    [
        *(*_SUMS, "sub", "mul", "div", "neg", "convert_element_type", "name", "copy"),
        *("reshape", "squeeze", "transpose", "broadcast_in_dim", "slice", "split"),
        *("dynamic_slice", "sharding_constraint"),
    ]
)


def splits(network: Traced) -> Mapping[int, Split]:
    """How the sums of a recurrent network split a signal, by the id of the equation.

    A sum of a product of the carry with weights and of what does not depend on the
    carry sends all to the latter. Other sums of what depends on the carry, such as that
    of an LSTM's cell, keep their derivative; those outside of a scan give shares.

    Raises:
      ValueError: no sum of the first kind, or an equation that is of two kinds.
    """
    active = {}
    network.survey(
        lambda eqn, facts: active.update({id(eqn): [fact.active for fact in facts]})
    )
    found: dict[int, Split] = {}
    _walk(network.jaxpr, [None] * len(network.jaxpr.invars), active, found)
    if not any(isinstance(split, int) for split in found.values()):
        raise ValueError(
            "`f` has no sum of an input and a recurrent projection in the body of a "
            "`jax.lax.scan`, which is what `recurrent='input'` asks for."
        )
    return found


def _walk(jaxpr: Jaxpr, given, active, found):
    """Roles of results: None, of the carry "state", or its "product" with weights."""
    roles = dict(zip(jaxpr.invars, given, strict=True))

    def read(atom):
        return None if isinstance(atom, core.Literal) else roles.get(atom)

    for eqn in jaxpr.eqns:
        mine, inner = [read(atom) for atom in eqn.invars], list(bodies(eqn))
        if eqn.primitive.name == "scan":
            first = eqn.params["num_consts"]
            last = first + eqn.params["num_carry"]
            carry = ["state" if first <= i < last else None for i in range(len(mine))]
            _walk(inner[0], carry, active, found)
        if len(inner) == 1 and eqn.primitive.name != "scan":
            results = _walk(inner[0], mine, active, found)
        elif inner:
            results = ["state" if any(mine) else None] * len(eqn.outvars)
        else:
            results = [_role(eqn, mine, active[id(eqn)], found)] * len(eqn.outvars)
        roles.update(zip(eqn.outvars, results))
    return [read(atom) for atom in jaxpr.outvars]


def _role(eqn, mine, active, found):
    name = eqn.primitive.name
    if name in _SUMS and all(active):
        split = "derivative" if any(mine) else "shares"
        if set(mine) == {None, "product"}:
            split = mine.index(None)
        if found.setdefault(id(eqn), split) != split:
            raise ValueError(
                "`f` calls a jitted function with a sum in it both for what its cell "
                "remembers and for what it is shown: take the `jit` off it."
            )
        return "state" if any(mine) else None
    if not any(mine):
        return None
    weights_alone = not any(a for role, a in zip(mine, active) if role is None)
    if name in PRODUCTS and weights_alone:
        return "product"
    # A gate before the sum, as the reset gate of a GRU, leaves it a projection.
    kept = name == "mul" or (name in _KEEPS and weights_alone)
    return "product" if kept and "product" in mine else "state"
