"""The command line: `jaxattr demo`, `explain`, `train`, `convert` and the tables."""

from jaxattr.cli._main import main

__all__ = ["main"]
