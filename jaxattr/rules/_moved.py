"""Values that have moved away from a reference, and how operations pass a move on.

Every result here moves by a linear function of how its operands moved, whose factors,
the multipliers, are held: to differentiate the last move by the first is to multiply
what lies between. A move is carried in one part, or in what rises and what falls of
it, apart.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Function = Callable[[jax.Array], jax.Array]
_ROUNDING = 4  # Units in the last place by which a function may be off.


class Moved(NamedTuple):
    """A value beside its reference.

    Attributes:
      value: on the clip.
      parts: arrays like it whose sum leads to it from the reference: one, or the sum
        of all contributions that rise and of all that fall.
    """

    value: jax.Array
    parts: tuple[jax.Array, ...]

    @property
    def move(self) -> jax.Array:
        """Value less reference."""
        return functools.reduce(operator.add, self.parts)

    @property
    def reference(self) -> jax.Array:
        """The value on the baseline."""
        return self.value - self.move


def moved(value: jax.Array, terms: Sequence[jax.Array], num_parts: int) -> Moved:
    """A value as a source of contributions: all of its move rises, or falls.

    Where nothing moved, half does either. What cancels but for rounding has no sign
    that two compilations of it would agree on, so between the two lies a narrow ramp.

    Args:
      value: on the clip.
      terms: of which the move is the sum.
      num_parts: in how many parts moves are carried.
    """
    move = functools.reduce(operator.add, terms)
    if num_parts == 1:
        return Moved(value, (move,))
    size = functools.reduce(operator.add, map(jnp.abs, terms))
    width = 2 * float(jnp.finfo(move.dtype).eps) ** 0.5
    rising = jnp.clip(0.5 + move / jnp.where(size == 0, 1, size) / width, 0, 1)
    rising = _held(rising)
    return Moved(value, (rising * move, (1 - rising) * move))


def linear(
    operation: Callable[..., list[jax.Array]],
    operands: Sequence[Moved],
    opposed: Sequence[bool],
) -> list[Moved]:
    """An operation that is linear and, but for opposed operands, never turns a sign.

    Args:
      operation: of the operands' values, to a list of results.
      operands: all that moved.
      opposed: which operands count with the other sign, so that what rises makes the
        result fall.
    """
    values = [x.value for x in operands]
    parts = [x.parts[::-1] if o else x.parts for x, o in zip(operands, opposed)]
    passed = [jax.jvp(operation, values, list(part)) for part in zip(*parts)]
    results = zip(passed[0][0], *(moves for _, moves in passed), strict=True)
    return [Moved(value, tuple(moves)) for value, *moves in results]


def weighted(
    operation: Callable[[jax.Array, jax.Array], jax.Array],
    x: Moved,
    weights: jax.Array,
) -> Moved:
    """An operation that is linear in what moved and linear in its weights."""
    value = operation(x.value, weights)
    if len(x.parts) == 1:
        return Moved(value, (operation(x.move, weights),))
    rising, falling = x.parts
    up, down = jnp.maximum(weights, 0), jnp.minimum(weights, 0)
    rises = operation(rising, up) + operation(falling, down)
    return Moved(value, (rises, operation(rising, down) + operation(falling, up)))


def product(
    operation: Callable[[jax.Array, jax.Array], jax.Array], a: Moved, b: Moved
) -> Moved:
    """An operation that is linear in two operands which both moved.

    The move of a b is that of a times the mean of b, and that of b times the mean of a.
    """
    means = [_held(x.value - x.move / 2) for x in (a, b)]
    terms = operation(a.move, means[1]), operation(means[0], b.move)
    return moved(operation(a.value, b.value), terms, len(a.parts))


def pointwise(function: Function, x: Moved) -> Moved:
    """A function of each element: the slopes of its secants are the multipliers.

    In one part, the secant from the reference to the value. In two, what rises gets the
    mean of the secants that begin at the reference and behind what falls, and likewise.
    """
    if len(x.parts) == 1:
        slopes = [_secant(function, x.value, x.move)]
    else:
        slopes = [
            (_secant(function, x.value, part) + _secant(function, alone, part)) / 2
            for part, alone in zip(x.parts, (x.value - p for p in x.parts[::-1]))
        ]
    terms = [_held(m) * part.astype(m.dtype) for m, part in zip(slopes, x.parts)]
    return moved(function(x.value), terms, len(terms))


def largest(
    operation: Callable[..., jax.Array], xs: Sequence[Moved], *, least: bool = False
) -> Moved:
    """The largest of what an operation looks at, such as a window.

    A maximum that rises was lifted by who is the largest now, one that falls was let
    down by who was it before: either moved at least as far, in the same direction, so
    that all of the move is theirs by a multiplier between 0 and 1.
    """
    values, references = [x.value for x in xs], [x.reference for x in xs]
    y, y0 = operation(*values), operation(*references)
    move = jnp.where(y == y0, 0, y - y0)  # Where both are infinite, too.
    by_new = move <= 0 if least else move >= 0

    def of_winner(at):
        at = [lax.stop_gradient(x) for x in at]  # Who wins does not change by a bit.
        return jax.jvp(operation, at, [x.move for x in xs])[1]

    theirs = jnp.where(by_new, of_winner(values), of_winner(references))
    still = theirs == 0
    multiplier = jnp.where(still, 1, move / jnp.where(still, 1, theirs))
    return moved(y, [_held(multiplier) * theirs], len(xs[0].parts))


def _secant(function, end, move):
    """Slope from `end - move` to `end`.

    Where the derivative at the end explains the rise up to rounding, it is the better
    number: a quotient of two differences has lost its digits, or is 0 / 0. What this
    costs in completeness is of the size of rounding.
    """
    y, slope = jax.jvp(function, (end,), (jnp.ones_like(end),))
    y0 = function(end - move)
    rise, end, move = y - y0, end.astype(y.dtype), move.astype(y.dtype)
    size = jnp.abs(y) + jnp.abs(y0) + jnp.abs(slope * end)
    rounding = _ROUNDING * float(jnp.finfo(y.dtype).eps) * size
    still = move == 0
    explained = still | (jnp.abs(rise - slope * move) <= rounding)
    quotient = jnp.where(still, 0, rise / jnp.where(still, 1, move))
    return jnp.where(explained & jnp.isfinite(slope), slope, quotient)


@jax.custom_vjp
def _held(multiplier):
    """Constant to the derivative that collects multipliers, though not to others.

    A `stop_gradient` would be so for the derivative of an explanation as well.
    """
    return multiplier


_held.defvjp(lambda multiplier: (multiplier, None), lambda _, cotangent: (None,))
