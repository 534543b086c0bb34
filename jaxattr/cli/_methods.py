"""From words on the command line to methods with their settings."""

import ast
import contextlib
import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxattr._registry import METHODS
from jaxattr.cli._main import CommandError


def pick(
    names: str,
    *,
    common: Mapping[str, Any],
    special: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Chooses methods and gives each the settings that it takes.

    Args:
      names: separated by commas.
      common: settings for every method that has them; None is left out.
      special: "name.setting=value" or "setting=value", the value a Python literal.

    Raises:
      CommandError: an unknown method or setting, with the nearest names.
    """
    chosen = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        method = METHODS.get(name)
        if method is None:
            raise CommandError(f"no method {name!r}{nearest(name, METHODS)}")
        if method.needs:
            raise CommandError(
                f"{name} needs {', '.join(method.needs)}, which only Python can give: "
                f"see help(jaxattr.{name})."
            )
        known = inspect.signature(method.transform).parameters
        given = {k: v for k, v in common.items() if k in known and v is not None}
        chosen[name] = {**method.settings, **given}
    if not chosen:
        raise CommandError("`--method` names no method; see `jaxattr methods`.")
    for text in special:
        _assign(text, chosen)
    return chosen


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the names that were perhaps meant."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(close or known[:12])}?"


def _assign(text, chosen):
    path, equals, value = text.partition("=")
    owner, dot, name = path.rpartition(".")
    if not equals or not name:
        raise CommandError(f"`--set` wants setting=value, got {text!r}.")
    with contextlib.suppress(ValueError, SyntaxError):  # Else a word: preset=paper.
        value = ast.literal_eval(value)
    targets = [name for name in chosen if not dot or name == owner]
    if not targets:
        raise CommandError(
            f"`--set {text}`: no method {owner!r} in this run{nearest(owner, chosen)}"
        )
    taken = False
    known = set()
    for target in targets:
        parameters = set(inspect.signature(METHODS[target].transform).parameters)
        known |= parameters - {"f"}
        if name in parameters - {"f"}:
            chosen[target][name] = value
            taken = True
    if not taken:
        raise CommandError(
            f"`--set {text}`: no such setting{nearest(name, sorted(known))}"
        )
