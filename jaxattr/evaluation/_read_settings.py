"""Reads a settings file, and says all that is wrong with it before anything runs."""

import pathlib
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from jaxattr.evaluation._reader import Reader
from jaxattr.evaluation._settings import Settings, SettingsError
from jaxattr.evaluation._sources import SOURCES, Source


def read_settings(
    settings: str | pathlib.Path | Mapping[str, Any],
    *,
    networks: Collection[str] = (),
    sources: Mapping[str, Source] = SOURCES,
    needs: Collection[str] = (),
) -> Settings:
    """Reads the settings of an evaluation.

    Args:
      settings: TOML file, or what one would hold; see docs/evaluate.md.
      networks: names of networks that are made in Python.
      sources: kinds of data.
      needs: settings of methods that are made in Python.

    Raises:
      SettingsError: unknown keys, networks, data, methods, metrics or settings of them,
        with the nearest names; values that cannot be. All at once, one in a line.
      OSError: there is no such file.
    """
    base = pathlib.Path()
    if not isinstance(settings, Mapping):
        path = pathlib.Path(settings)
        base = path.parent
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not TOML: {error}.") from error
    reader = Reader(base, networks, sources, needs)
    made = reader.read(settings)
    if reader.wrong:
        raise SettingsError("the settings are wrong:\n  " + "\n  ".join(reader.wrong))
    return made
