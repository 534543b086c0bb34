"""The table of families, and the one list of labels that they share."""

import difflib
import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jaxattr.data.evidence._appearance import APPEARANCE
from jaxattr.data.evidence._context import CONTEXT
from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._motion import MOTION
from jaxattr.data.evidence._order import ORDER
from jaxattr.data.evidence._pairs import AND, OR
from jaxattr.data.evidence._trigger import TRIGGER

_TABLE = (MOTION, APPEARANCE, ORDER, AND, OR, CONTEXT, TRIGGER)

FAMILIES: Mapping[str, Family] = MappingProxyType({one.name: one for one in _TABLE})
CLASSES = MOTION.labels
LABELS = (*itertools.chain(*(one.labels for one in _TABLE)), "none")
NONE = len(LABELS) - 1  # The class of a clip that lacks the evidence.

_FIRST = dict(
    zip(FAMILIES, itertools.accumulate((len(one.labels) for one in _TABLE), initial=0))
)


def find(name: str) -> Family:
    """The family of that name.

    Raises:
      ValueError: if there is none; the message has the nearest names.
    """
    if name not in FAMILIES:
        raise ValueError(f"`family` must be one of {_near(name, FAMILIES)}.")
    return FAMILIES[name]


def labels(family: str) -> range:
    """Indices into `LABELS` of a family's classes.

    Raises:
      ValueError: if there is no such family; the message has the nearest names.
    """
    found = find(family)
    return range(_FIRST[family], _FIRST[family] + len(found.labels))


def check_parts(family: Family, parts: Iterable[str], argument: str) -> None:
    """Raises ValueError unless all `parts` are names of parts of the family."""
    for part in parts:
        if part not in family.parts:
            raise ValueError(
                f"`{argument}` must name parts of {family.name!r}, which are "
                f"{_near(part, family.parts)}."
            )


def _near(name: object, known: Iterable[str]) -> str:
    """The names there are, what came, and which of them were perhaps meant."""
    known = list(known)
    word = name if isinstance(name, str) else ""
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    return f"{', '.join(map(repr, known))}; got {name!r}{hint}"
