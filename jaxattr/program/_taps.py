"""Named values inside a program: collected, and changed on the way.

A value is named by `jax.ad_checkpoint.checkpoint_name(x, "layer4")`. Names that the
model's author wrote are unique in a program; those given while tracing to the outputs
of modules, marked by `MODULE`, may repeat and are then numbered "name#0", "name#1".
Inside a `scan` a tap has a leading axis, one row for each step. Inside `cond` and
`while` there are none: how often they happen is not known.
"""

import collections
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jaxattr.program._facts import bodies

Put = Callable[[jax.Array, jax.Array], jax.Array]
MODULE = "module:"  # Before names that were not written by the model's author.


class Site(NamedTuple):
    """Where a value is named.

    Attributes:
      name: as in the program.
      place: in the user's code.
      hidden: the operation, such as `cond`, inside of which it cannot be tapped; or "".
    """

    name: str
    place: str
    hidden: str


class Taps:
    """The taps of one run of a program.

    Attributes:
      found: key -> value, as far as the run has come.
      inject: key -> what meets the value, by `put`; all others stay.
    """

    def __init__(
        self,
        totals: Mapping[str, int],
        inject: Mapping[str, jax.Array],
        put: Put = jnp.add,
    ):
        self.found: dict[str, jax.Array] = {}
        self.inject = dict(inject)
        self._totals, self._put = totals, put
        self._seen: collections.Counter[str] = collections.Counter()

    @classmethod
    def none(cls) -> "Taps":
        """Collects nothing."""
        return cls({}, {})

    @classmethod
    def of(
        cls, jaxpr: Jaxpr, inject: Mapping[str, jax.Array], put: Put = jnp.add
    ) -> "Taps":
        """Collects all that can be tapped in a program.

        Raises:
          ValueError: a name that the model's author gave twice.
        """
        return cls(totals(jaxpr), inject, put)

    def at(self, name: str, value: jax.Array) -> jax.Array:
        """Meets a named value; returns what the program goes on with."""
        if name not in self._totals:
            return value
        key = self._key(name)
        if key in self.inject:
            value = self._put(value, self.inject[key])
        self.found[key] = value
        return value

    def inside(self, inject: Mapping[str, jax.Array]) -> "Taps":
        """For a body that is traced apart: may be called again for the same body."""
        inner = Taps(self._totals, inject, self._put)
        inner._seen = self._seen.copy()
        return inner

    def injected(self, body: Jaxpr) -> dict[str, jax.Array]:
        """What a body needs of `inject`."""
        inner = self.inside({})
        keys = [inner._key(name) for name in self._names(body)]
        return {key: self.inject[key] for key in keys if key in self.inject}

    def leave(self, found: Mapping[str, jax.Array], body: Jaxpr) -> None:
        """Takes over what a body, traced apart, has found."""
        self._seen.update(self._names(body))
        self.found.update(found)

    def _names(self, body):
        there = [site.name for site in sites(body) if not site.hidden]
        return [name for name in there if name in self._totals]

    def _key(self, name):
        count = self._seen[name]
        self._seen[name] += 1
        plain = name.removeprefix(MODULE)
        return f"{plain}#{count}" if self._totals[name] > 1 else plain


def totals(jaxpr: Jaxpr) -> dict[str, int]:
    """How often each name occurs that can be tapped.

    Raises:
      ValueError: a name that the model's author gave twice, with both places.
    """
    places = collections.defaultdict(list)
    for site in sites(jaxpr):
        if not site.hidden:
            places[site.name].append(site.place)
    for name, where in places.items():
        if len(where) > 1 and not name.startswith(MODULE):
            raise ValueError(
                f"`f` names two values {name!r}, at {where[0]} and at {where[1]}: give "
                "each `checkpoint_name` another name."
            )
    explicit = {name for name in places if not name.startswith(MODULE)}
    return {
        name: len(where)
        for name, where in places.items()
        # What the author named goes before the path of a module.
        if name in explicit or name.removeprefix(MODULE) not in explicit
    }


def absence(name: str, written: Jaxpr, live: Jaxpr) -> str:
    """Why there is no tap of a name: the predicate of a sentence.

    Args:
      name: that is not among the keys of the taps.
      written: the program as the author wrote it.
      live: what of it the output depends on.
    """
    there = [s for s in sites(written) if s.name.removeprefix(MODULE) == name]
    alive = any(s.name.removeprefix(MODULE) == name for s in sites(live))
    if not there or (alive and not there[0].hidden):
        return "does not exist"
    _, place, inside = there[0]
    if inside:
        return (
            f"is inside of a `{inside}`, at {place}, where nothing can be looked at: "
            f"name what the `{inside}` returns by checkpoint_name"
        )
    return (
        f"is a value, at {place}, on which the output of `f` does not depend: go on "
        "with what checkpoint_name returns"
    )


def sites(jaxpr: Jaxpr, hidden: str = "") -> Iterator[Site]:
    """All named values, in the order of evaluation."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "name":
            yield Site(eqn.params["name"], place(eqn), hidden)
        entered = list(bodies(eqn))
        inside = "" if entered and name not in ("cond", "while") else name
        for body in entered or jaxprs_in_params(eqn.params):
            yield from sites(body, hidden or inside)


def place(eqn: JaxprEqn) -> str:
    """File and line outside of the libraries, as far as JAX keeps them."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        name = frame.file_name
        if not any(f"/{library}/" in name for library in ("jax", "flax", "jaxattr")):
            return f"{name}:{frame.line_num}"
    return "an unknown place"
