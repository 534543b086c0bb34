"""From words on the command line to methods with their settings."""

import ast
import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jaxattr._checking import NoNetwork, nearest
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
      CommandError: an unknown method or setting, with the nearest names; a method named
        twice; a common setting that none of the methods has.
      ValueError: a value that its method refuses.
      TypeError: likewise.
    """
    common = {name: value for name, value in common.items() if value is not None}
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
        if name in chosen:
            raise CommandError(
                f"`--method` names {name} twice, but a page holds one result of a "
                "method; run again with another --out for other settings."
            )
        given = {k: v for k, v in common.items() if k in _settings(name)}
        chosen[name] = {**method.settings, **given}
    if not chosen:
        raise CommandError("`--method` names no method; see `jaxattr methods`.")
    for option in common:
        _check_taken(option, chosen)
    for text in special:
        _assign(text, chosen)
    for name, settings in chosen.items():
        METHODS[name].transform(NoNetwork(), **settings)  # Checks them, runs nothing.
    return chosen


def _settings(name):
    return inspect.signature(METHODS[name].transform).parameters.keys() - {"f"}


def _check_taken(option, chosen):
    """An option must not be dropped in silence."""
    if not any(option in _settings(name) for name in chosen):
        owners = [
            name
            for name, method in METHODS.items()
            if option in _settings(name) and not method.needs
        ]
        raise CommandError(
            f"`--{option}` is no setting of {', '.join(chosen)}: leave it out, or name "
            f"a method that has it ({', '.join(owners)})."
        )


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
        known |= _settings(target)
        if name in _settings(target):
            chosen[target][name] = value
            taken = True
    if not taken:
        raise CommandError(
            f"`--set {text}`: no such setting{nearest(name, sorted(known))}"
        )
