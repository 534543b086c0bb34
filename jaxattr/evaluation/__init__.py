"""The whole experiment: networks, methods, metrics and clips from one settings file."""

from jaxattr.evaluation._evaluate import Summary, evaluate
from jaxattr.evaluation._folder import FolderError
from jaxattr.evaluation._join import join_records
from jaxattr.evaluation._metrics import METRICS, Metric
from jaxattr.evaluation._read_settings import read_settings
from jaxattr.evaluation._settings import Choice, Settings, SettingsError
from jaxattr.evaluation._sources import SOURCES, Source

__all__ = [
    "METRICS",
    "SOURCES",
    "Choice",
    "FolderError",
    "Metric",
    "Settings",
    "SettingsError",
    "Source",
    "Summary",
    "evaluate",
    "join_records",
    "read_settings",
]
