"""What the rules of this package act on in a network, before any is asked."""

import collections
from typing import Any, NamedTuple

from jaxattr._clip import check_clip
from jaxattr._score import Network
from jaxattr.program import GATES, outcome, trace
from jaxattr.rules._operations import PRODUCTS, name_of
from jaxattr.rules._rectifier import rectifier


class Replaced(NamedTuple):
    """How many operations of each kind depend on the clip.

    The body of a `scan` counts once, whatever its length.

    Attributes:
      rectifiers: ReLUs in any spelling: what guided_backprop and deconvnet replace.
      convolutions: with weights; layers to lrp and excitation_backprop.
      matrix_products: with weights, likewise.
      products: of two values that both depend on the clip: gates and attention.
      gates: sigmoids, and the deviations that a layer norm divides by.
      softmaxes: in attention, or at the end.
      others: (primitive, count) of the rest, most frequent first.
    """

    rectifiers: int
    convolutions: int
    matrix_products: int
    products: int
    gates: int
    softmaxes: int
    others: tuple[tuple[str, int], ...]


def replaced(f: Network, clip: Any) -> Replaced:
    """Counts what backward rules find in a network.

    A rule replaces what it recognises, and leaves the derivative of everything else:
    look here when a map surprises. Nothing inside a `custom_jvp` (but `jax.nn.relu`)
    or `custom_vjp` is seen, each of which counts as one operation of its name.

    Args:
      f: network, one clip -> output.
      clip: [T, H, W, C] or a pytree of arrays (or of `jax.ShapeDtypeStruct`); its
        values do not matter.

    Returns:
      The counts; nothing is computed.

    Raises:
      TypeError: `f` is not callable, or the clip not floating point.
    """
    check_clip(clip)
    kinds: collections.Counter[str] = collections.Counter()
    others: collections.Counter[str] = collections.Counter()

    def see(eqn, facts):
        kind = _kind(eqn, facts)
        if kind is not None:
            kinds[kind] += 1
        elif any(fact.active for fact in facts):
            others[name_of(eqn)] += 1

    trace(f, clip, fold=False).survey(see)
    counts = [kinds[name] for name in Replaced._fields[:-1]]
    return Replaced(*counts, tuple(others.most_common()))


def _kind(eqn, facts):
    name, active = eqn.primitive.name, sum(fact.active for fact in facts)
    if rectifier(eqn, facts) is not None:
        return "rectifiers"
    if active == 1 and name in PRODUCTS:
        return "matrix_products" if name == "dot_general" else "convolutions"
    if active == 2 and name in (*PRODUCTS, "mul"):
        return "products"
    if active and name in GATES:
        return "gates"
    made = outcome(eqn, facts)[0].made if name == "div" else None
    softmax = made is not None and made.kind == "softmax"
    return "softmaxes" if softmax and active else None
