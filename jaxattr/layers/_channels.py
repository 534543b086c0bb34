"""Which convolution made the channels of a value, and which those of its input."""

import math
from typing import Any, NamedTuple

import jax
from jax.extend.core import JaxprEqn

from jaxattr.program import ELEMENTWISE, Fact, Traced, bodies, fresh, infer

# A channel stays that channel.
_KEEPS = ELEMENTWISE | {
    *("add_any", "copy", "convert_element_type", "name", "stop_gradient"),
    "sharding_constraint",
}


class Convolution(NamedTuple):
    """A convolution on the way from the clip.

    Attributes:
      eqn: of the program.
      kernel: [I, O, ...], input and output channels first.
      axis: of its input, along which the channels lie.
      input: its first operand.
      below: where the channels of that come from.
    """

    eqn: JaxprEqn
    kernel: jax.Array
    axis: int
    input: jax.Array
    below: "Origin"


class Origin(NamedTuple):
    """Where the channels of a value come from.

    Attributes:
      axis: along which they lie.
      convolution: that made them; None for the clip.
      depth: how many convolutions there are up to here.
      lost: what made other channels of them, if anything but a convolution did.
    """

    axis: int
    convolution: Convolution | None = None
    depth: int = 0
    lost: str | None = None


class Channels:
    """A rule that changes nothing and remembers where channels come from.

    Biases, batch norm, activations and pools keep channels as they are. Of the branches
    of a sum the one with more convolutions counts.
    """

    def __init__(self, network: Traced, clip: jax.Array):
        self._network = network
        self._known: dict[int, tuple[Any, Origin]] = {id(clip): (clip, Origin(3))}

    def of(self, value: jax.Array) -> Origin:
        """Where the channels of a value of the network come from."""
        unknown = Origin(-1, lost="a loop, a branch or a checkpoint")
        return self._known.get(id(value), (value, unknown))[1]

    def __call__(
        self, eqn: JaxprEqn, values: list[Any], facts: list[Fact]
    ) -> list[Any] | None:
        """The results of the equation itself."""
        active = [i for i, fact in enumerate(facts) if fact.active]
        if not active or not eqn.outvars or any(bodies(eqn)):
            return None
        results = self._network.run(eqn, values)
        origin = self._origin(eqn, values, active)
        self._known.update((id(result), (result, origin)) for result in results)
        return results

    def _origin(self, eqn, values, active):
        name, first = eqn.primitive.name, self.of(values[active[0]])
        if name == "conv_general_dilated" and active == [0]:
            return _made(eqn, values, first)
        if first.lost is not None and len(active) == 1:
            return first
        if _is_elementwise(eqn, active):
            return _merged(name, [self.of(values[i]) for i in active])
        axis = _MOVES[name](eqn, first.axis) if name in _MOVES else None
        if axis is None:
            return first._replace(lost=name)
        return first._replace(axis=axis)


def _made(eqn, values, below):
    params = eqn.params
    numbers = params["dimension_numbers"]
    depth = below.depth + 1
    if params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return Origin(-1, depth=depth, lost="a grouped convolution")
    axis = numbers.lhs_spec[1]
    if below.lost is None and axis != below.axis:
        return Origin(-1, depth=depth, lost="a convolution over other axes")
    out, into, *space = numbers.rhs_spec
    kernel = values[1].transpose(into, out, *space)
    made = Convolution(eqn, kernel, axis, values[0], below)
    return Origin(numbers.out_spec[1], made, depth)


def _is_elementwise(eqn, active):
    """Element by element of all operands that depend on the clip."""
    names, shape = [eqn.primitive.name], eqn.outvars[0].aval.shape
    if names == ["custom_jvp_call"]:
        body = eqn.params["call_jaxpr"].jaxpr
        facts = [fresh(True) for _ in body.invars]
        names = []
        infer(body, facts, lambda eqn, facts: names.append(eqn.primitive.name))
    same = all(eqn.invars[i].aval.shape == shape for i in active)
    return same and _KEEPS.issuperset(names)


def _merged(name, origins):
    deepest = max(origins, key=lambda origin: origin.depth)
    same = all(
        (origin.axis, origin.lost) == (deepest.axis, deepest.lost)
        and origin.convolution is deepest.convolution
        for origin in origins
    )
    if not same and name not in ("add", "add_any"):
        return deepest._replace(lost=name)
    return deepest


def _reshaped(eqn, axis):
    old, new = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    before = math.prod(old[:axis])
    for i, size in enumerate(new):
        if size == old[axis] and math.prod(new[:i]) == before:
            return i
    return None


def _squeezed(eqn, axis):
    gone = eqn.params["dimensions"]
    return None if axis in gone else axis - sum(i < axis for i in gone)


def _reduced(eqn, axis):
    gone = eqn.params["axes"]
    return None if axis in gone else axis - sum(i < axis for i in gone)


def _windowed(eqn, axis):
    params = eqn.params
    whole = params["window_dimensions"][axis] == params["window_strides"][axis] == 1
    return axis if whole and params["padding"][axis] == (0, 0) else None


def _cut(eqn, axis):
    same = eqn.invars[0].aval.shape[axis] == eqn.outvars[0].aval.shape[axis]
    return axis if same else None


_MOVES = {
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "broadcast_in_dim": lambda eqn, axis: eqn.params["broadcast_dimensions"][axis],
    "transpose": lambda eqn, axis: eqn.params["permutation"].index(axis),
    "slice": _cut,
    "pad": _cut,
    "rev": lambda eqn, axis: None if axis in eqn.params["dimensions"] else axis,
    **dict.fromkeys(("reduce_window_max", "reduce_window_sum"), _windowed),
    **dict.fromkeys(("reduce_max", "reduce_sum"), _reduced),
}
