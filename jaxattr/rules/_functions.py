"""Which values are functions of which, element by element, however they are spelled.

To relevance `x * tanh(softplus(x))` is no product and `where(x > 1, 1, x)` no choice of
a branch: either is one non-linearity of x.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.program import Fact


class _Step(NamedTuple):
    """How a value was made.

    Attributes:
      operation: of the values.
      values: its operands.
      origins: of those that depend on the clip; None of the others.
    """

    operation: Callable[..., jax.Array]
    values: tuple[Any, ...]
    origins: tuple[object, ...]


class Functions:
    """Remembers how element-wise values were made, by the very objects."""

    def __init__(self):
        self._made: dict[int, tuple[Any, _Step]] = {}
        self._bent: set[int] = set()

    def keep(self, value, operation, values: Sequence[Any], facts: Sequence[Fact]):
        """Remembers a result and the operands it was made of."""
        self._made[id(value)] = value, _step(operation, values, facts)

    def follow(self, made: Any, value: Any) -> None:
        """Knows of a value how the one was made that it stands for."""
        if id(made) in self._made:
            self._made[id(value)] = value, self._made[id(made)][1]
        if id(made) in self._bent:
            self._bent.add(id(value))

    def argument(
        self,
        operation: Callable[..., jax.Array],
        values: Sequence[Any],
        facts: Sequence[Fact],
        of: Collection[object],
    ) -> tuple[Any, jax.Array] | None:
        """The value of which a result is a function, and the result at its 0.

        Of all such values the nearest that is no function of another by itself:
        `log1p(exp(x))` is one function, that of x.

        Args:
          operation: that makes the result.
          values: its operands.
          facts: of these.
          of: origins of values of each of which the result is a function; every path
            from one of them to the result leads through the nearer ones.
        """
        step = _step(operation, values, facts)
        try:
            value, root = self._nearest(step, of)
            return value, self._at_zero(step, root, {})
        except KeyError:  # A value on the way was made by something else.
            return None

    def bend(self, value: Any) -> None:
        """Remembers a result as a function, which others may go on from."""
        self._bent.add(id(value))

    def _nearest(self, step, of):
        pairs = zip(step.values, step.origins)
        value, origin = next(pair for pair in pairs if pair[1] is not None)
        is_float = jnp.issubdtype(value.dtype, jnp.floating)
        if origin in of and is_float and id(value) not in self._bent:
            return value, origin
        return self._nearest(self._made[id(value)][1], of)

    def _at_zero(self, step, root, known):
        def at(value, origin):
            if origin is None:
                return value
            if origin is root:
                return jnp.zeros_like(value)
            if id(value) not in known:
                made = self._made[id(value)][1]
                known[id(value)] = self._at_zero(made, root, known)
            return known[id(value)]

        return step.operation(*map(at, step.values, step.origins))


def _step(operation, values, facts):
    origins = tuple(fact.origin if fact.active else None for fact in facts)
    return _Step(operation, tuple(values), origins)
