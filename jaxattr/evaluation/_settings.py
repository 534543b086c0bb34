"""The settings of an evaluation, checked; what makes two of them the same."""

import dataclasses
import inspect
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxattr.evaluation._methods import RUNNABLE
from jaxattr.evaluation._metrics import METRICS


class SettingsError(ValueError):
    """What is wrong with a settings file: all of it, a line for each mistake."""


class Choice(NamedTuple):
    """One network, data set, method or metric of a settings file.

    Attributes:
      label: by which the records call it.
      name: of the network, the kind of data, the method or the metric.
      settings: what it is made with.
      options: what the evaluation itself does with it.
    """

    label: str
    name: str
    settings: Mapping[str, Any] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that an evaluation is told.

    Attributes:
      networks: to be explained.
      data: sets of clips.
      methods: that explain.
      metrics: that score.
      seed: of random methods and metrics.
      clips: of each data set, at most; None for all.
      base: folder to which paths are relative; where the settings file is.
    """

    networks: tuple[Choice, ...]
    data: tuple[Choice, ...]
    methods: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    seed: int = 0
    clips: int | None = None
    base: pathlib.Path = pathlib.Path()

    @property
    def rows_per_clip(self) -> int:
        """How many records a clip of one network has."""
        return len(self.methods) * len(self.metrics)

    def as_json(self) -> dict[str, Any]:
        """All of them, defaults too, as JSON has it; but for `base`."""
        defaults = {
            "methods": lambda c: _defaults(RUNNABLE[c.name].transform),
            "metrics": lambda c: _defaults(METRICS[c.name].function),
        }
        sections = {
            section: {
                choice.label: _plain(
                    {
                        "name": choice.name,
                        **defaults.get(section, lambda c: {})(choice),
                        **choice.settings,
                        **choice.options,
                    }
                )
                for choice in getattr(self, section)
            }
            for section in ("networks", "data", "methods", "metrics")
        }
        return {"seed": self.seed, "clips": self.clips, **sections}


def _defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def _plain(value):
    """A value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, Choice):
        return _plain(
            {"kind": value.name, "label": value.label}
            | dict(value.settings)
            | dict(value.options)
        )
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)
