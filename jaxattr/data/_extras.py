"""Decoders are an extra: import them when they are needed, and say what is missing."""

import importlib
from types import ModuleType


def need(module: str, package: str) -> ModuleType:
    """Imports a decoder, or names the extra that brings it.

    Args:
      module: what to import, such as "av" or "PIL.Image".
      package: the name a person knows it by.

    Raises:
      ImportError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"reading this needs {package}: pip install 'jaxattr[video]'"
        ) from error
