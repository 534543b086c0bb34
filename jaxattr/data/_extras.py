"""Decoders and SLIC are extras: import them when needed, and say what is missing."""

import importlib
from types import ModuleType


def need(module: str, package: str, extra: str = "video") -> ModuleType:
    """Imports a module, or names the extra that brings it.

    Args:
      module: what to import, such as "av" or "PIL.Image".
      package: the name a person knows it by.
      extra: that has it.

    Raises:
      ImportError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs {package}: pip install 'jaxattr[{extra}]'"
        ) from error
