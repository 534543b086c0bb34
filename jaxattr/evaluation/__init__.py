"""The whole experiment: networks, methods, metrics and clips from one settings file."""

from jaxattr.evaluation._curves import Curve
from jaxattr.evaluation._estimates import Estimates
from jaxattr.evaluation._evaluate import Summary, evaluate
from jaxattr.evaluation._folder import FolderError
from jaxattr.evaluation._join import join_records
from jaxattr.evaluation._long import to_csv
from jaxattr.evaluation._markdown import to_markdown
from jaxattr.evaluation._metrics import METRICS, Metric, Path, Scale
from jaxattr.evaluation._read_settings import read_settings
from jaxattr.evaluation._results import Results, read_results
from jaxattr.evaluation._settings import Choice, Settings, SettingsError
from jaxattr.evaluation._sources import SOURCES, Source
from jaxattr.evaluation._table import (
    Costs,
    Reliabilities,
    Table,
    tabulate,
)

__all__ = [
    "METRICS",
    "SOURCES",
    "Choice",
    "Costs",
    "Curve",
    "Estimates",
    "FolderError",
    "Metric",
    "Path",
    "Reliabilities",
    "Results",
    "Scale",
    "Settings",
    "SettingsError",
    "Source",
    "Summary",
    "Table",
    "evaluate",
    "join_records",
    "read_results",
    "read_settings",
    "tabulate",
    "to_csv",
    "to_markdown",
]
