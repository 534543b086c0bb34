"""Reads the tables of a settings file, and collects all that is wrong with them."""

import functools
import importlib.util
import inspect
import itertools
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args, get_origin

import jax
import numpy as np

from jaxattr._checking import NoNetwork, nearest
from jaxattr._heatmap import to_heatmap
from jaxattr.evaluation._evidence import check_seed
from jaxattr.evaluation._methods import RUNNABLE
from jaxattr.evaluation._metrics import METRICS
from jaxattr.evaluation._networks import check_weights, is_test_only
from jaxattr.evaluation._settings import Choice, Settings
from jaxattr.evaluation._sources import Source

_SECTIONS = ("networks", "data", "methods", "metrics")
_TOP = ("seed", "clips", *_SECTIONS)


class Reader:
    """Reads tables.

    Args:
      base: folder to which paths are relative.
      networks: names of networks that are made in Python.
      sources: kinds of data.
      needs: settings of methods that are made in Python.

    Attributes:
      wrong: sentences.
    """

    def __init__(
        self,
        base: pathlib.Path,
        networks: Collection[str],
        sources: Mapping[str, Source],
        needs: Collection[str] = (),
    ):
        self.base, self.networks, self.sources = base, networks, sources
        self.needs = frozenset(needs)
        self.wrong: list[str] = []

    def read(self, raw: Mapping[str, Any]) -> Settings:
        """The settings, of use if nothing is wrong."""
        for key in raw.keys() - set(_TOP):
            self.wrong.append(f"no key `{key}`{nearest(key, _TOP)}")
        seed, clips = raw.get("seed", 0), raw.get("clips")
        try:
            check_seed(seed)
        except ValueError as error:
            self.wrong.append(str(error))
            seed = 0
        self._check_clips("`clips`", clips)
        made = {}
        for section in _SECTIONS:
            entries = raw.get(section)
            if not (
                isinstance(entries, list)
                and entries
                and all(isinstance(entry, dict) for entry in entries)
            ):
                self.wrong.append(f"there must be tables [[{section}]], one or more.")
                entries = []
            read = getattr(self, f"_{section}")
            choices = [
                read(dict(entry), f"{section}[{number}]", clips)
                for number, entry in enumerate(entries)
            ]
            made[section] = tuple(choice for choice in choices if choice)
            self._check_labels(section, made[section])
        self._check_tuning(made["networks"], made["data"])
        return Settings(seed=seed, clips=clips, base=self.base, **made)

    def _networks(self, entry, where, clips):
        name, label = self._pop_name(entry, where, "name")
        if name is None:
            return None
        if name in self.networks:
            allowed = {}
        elif ":" in name:
            allowed = entry
            if not _is_module(name.partition(":")[0]):
                self.wrong.append(f"{where}: there is no module of {name!r}.")
        else:
            import jaxattr_models

            known = jaxattr_models.models()
            if name not in known:
                self.wrong.append(
                    f"{where}: no network {name!r}"
                    f"{nearest(name, [*self.networks, *known])}"
                )
                return None
            allowed = ("weights", "num_classes", "seed")
            self._try(where, check_weights, name, entry.get("weights"), self.base)
        self._check_keys(where, entry, ("name", "label", *allowed))
        weights = entry.get("weights")
        named = f"{name}/{pathlib.Path(weights).stem}" if _is_text(weights) else name
        return Choice(label or named, name, _tuples(entry))

    def _data(self, entry, where, clips, own=("clips", "target")):
        name, label = self._pop_name(entry, where, "kind")
        if name is None:
            return None
        if name not in self.sources:
            self.wrong.append(f"{where}: no data {name!r}{nearest(name, self.sources)}")
            return None
        source = self.sources[name]
        good = self._check_keys(where, entry, (*own, *source.arguments))
        options = {"target": entry.pop("target", "label")}
        if options["target"] not in ("label", "predicted"):
            self.wrong.append(
                f"{where}: `target` must be 'label' or 'predicted', got "
                f"{options['target']!r}."
            )
        options["clips"] = entry.pop("clips", clips)
        self._check_clips(f"{where}: `clips`", options["clips"])
        for key, parameter in source.arguments.items():
            if parameter.default is parameter.empty and key not in entry:
                self.wrong.append(f"{where}: {name} needs `{key}`.")
                good = False
            known = get_args(parameter.annotation)
            if get_origin(parameter.annotation) is not Literal or key not in entry:
                continue
            if entry[key] not in known:
                self.wrong.append(
                    f"{where}: `{key}` must be one of {', '.join(map(repr, known))}, "
                    f"got {entry[key]!r}{nearest(str(entry[key]), map(str, known))}"
                )
                good = False
        tables = {key: entry.pop(key) for key in source.tables if key in entry}
        for key, table in tables.items():
            inner = options["clips"]  # As many as are wanted of what they make.
            tables[key] = self._table(table, f"{where}.{key}", inner, own=())
        for key in source.paths:
            path = entry.get(key)
            place = self.base / str(path)
            if path is not None and not place.exists():
                self.wrong.append(f"{where}: `{key}` {path!r} does not exist.")
            elif path is not None and place.is_dir() != (key == "folder"):
                kind = "folder" if key == "folder" else "file"
                self.wrong.append(f"{where}: `{key}` {path!r} is no {kind}.")
        arguments = _tuples(entry) | tables
        if good:
            self._try(where, source.check, options["clips"], **arguments)
        label = label or source.label(arguments) or name
        return Choice(str(label), name, arguments, options)

    def _table(self, entry, where, clips, own):
        """A data set within another entry; None if it cannot be."""
        if isinstance(entry, dict):
            return self._data(dict(entry), where, clips, own)
        self.wrong.append(f"{where} must be a table as in [[data]], got {entry!r}.")
        return None

    def _methods(self, entry, where, clips):
        name, label = self._pop_name(entry, where, "name")
        if name is None:
            return None
        if name not in RUNNABLE:
            self.wrong.append(f"{where}: no method {name!r}{nearest(name, RUNNABLE)}")
            return None
        method, options = RUNNABLE[name], {}
        known = inspect.signature(method.transform).parameters.keys() - {"f"}
        known -= getattr(method.transform, "keywords", {}).keys()  # Of a control.
        good = self._check_keys(where, entry, ("name", "label", *known))
        needs = {name: None for name in method.needs if name not in self.needs}
        if needs.keys() - {"baselines"}:
            told = ", ".join(needs)
            self.wrong.append(f"{where}: only Python can give {name} its {told}.")
            return None
        if "baselines" in needs:
            given = entry.pop("baselines", None)
            options["baselines"] = self._table(
                given, f"{where}.baselines", clips, own=("clips",)
            )
            if options["baselines"] is None:
                return None
            needs["baselines"] = np.zeros((2, 1, 1, 1, 1), np.float32)
        settings = {**method.settings, **_tuples(entry)}
        if settings.get("areas") == "evidence":
            options["areas"] = settings.pop("areas")
            needs["areas"] = (0.5,)
        if good and self.needs.isdisjoint(method.needs):
            self._try(where, lambda: method.transform(NoNetwork(), **settings, **needs))
        return Choice(label or name, name, settings, options)

    def _metrics(self, entry, where, clips):
        name, label = self._pop_name(entry, where, "name")
        if name is None:
            return None
        if name not in METRICS:
            self.wrong.append(f"{where}: no metric {name!r}{nearest(name, METRICS)}")
            return None
        metric = METRICS[name]
        heatmap = _tuples(entry.pop("heatmap", {}))
        drawn = jax.ShapeDtypeStruct((2, 3, 4), np.float32)
        if not isinstance(heatmap, dict):
            self.wrong.append(f"{where}: `heatmap` must be a table, got {heatmap!r}.")
            heatmap = {}
        known = inspect.signature(to_heatmap).parameters.keys() - {"values"}
        if self._check_keys(f"{where}.heatmap", heatmap, known):
            draw = functools.partial(to_heatmap, **heatmap)
            self._try(f"{where}.heatmap", jax.eval_shape, draw, drawn)
        good = self._check_keys(where, entry, ("name", "label", *metric.settings))
        settings = _tuples(entry)
        if good and metric.kind == "map":
            measure = functools.partial(metric.function, **settings)
            self._try(where, jax.eval_shape, measure, *_stand_ins(metric))
        elif good:
            self._try(where, metric.function, *_stand_ins(metric), **settings)
        options = {"heatmap": heatmap} if heatmap else {}
        return Choice(label or name, name, settings, options)

    def _pop_name(self, entry, where, key):
        name, label = entry.pop(key, None), entry.pop("label", None)
        if not isinstance(name, str):
            self.wrong.append(f"{where}: `{key}` must be a name, got {name!r}.")
            name = None
        if not (label is None or _is_text(label)):
            self.wrong.append(f"{where}: `label` must be text, got {label!r}.")
            label = None
        return name, label

    def _check_keys(self, where, entry, known):
        unknown = [key for key in entry if key not in known]
        for key in unknown:
            self.wrong.append(f"{where}: no key `{key}`{nearest(key, sorted(known))}")
        return not unknown

    def _check_tuning(self, networks, data):
        """Nothing is tuned on what is kept for tests."""
        tuning = [
            choice.label
            for choice in itertools.chain.from_iterable(map(_with_tables, data))
            if choice.name == "evidence" and choice.settings.get("split") == "dev"
        ]
        for choice in networks:
            if (
                tuning
                and choice.name not in self.networks
                and is_test_only(choice.name)
            ):
                self.wrong.append(
                    f"networks: {choice.name} is only ever tested on, and split 'dev', "
                    f"of {', '.join(tuning)}, is for tuning."
                )

    def _check_clips(self, what, clips):
        if not (clips is None or _is_count(clips, 1)):
            self.wrong.append(f"{what} must be an integer from 1, got {clips!r}.")

    def _check_labels(self, section, choices):
        labels = [choice.label for choice in choices]
        for label in dict.fromkeys(labels):
            if labels.count(label) > 1:
                self.wrong.append(
                    f"{section}: {label!r} is there {labels.count(label)} times; give "
                    "each its own `label`."
                )

    def _try(self, where, check, *args, **settings):
        try:
            check(*args, **settings)
        except (ValueError, TypeError, NotImplementedError) as error:
            self.wrong.append(f"{where}: {error}")


def _stand_ins(metric):
    """What a metric can be tried on before there is anything to measure."""
    if metric.kind not in ("map", "host"):
        return [NoNetwork()] * (2 if metric.kind == "method" else 1)
    heat = np.ones((2, 3, 4), np.float32)
    boxes = np.zeros((2, 4), np.float32)
    truths = {"mask": heat > 0, "boxes": boxes, "window": np.ones(2, bool)}
    return [heat, truths[metric.truth]] if metric.truth else [heat]


def _with_tables(choice):
    """A data set, and those within it."""
    yield choice
    for value in choice.settings.values():
        if isinstance(value, Choice):
            yield from _with_tables(value)


def _is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # Of the package that it is in; of no name.
        return False


def _is_count(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value):
    return isinstance(value, str) and value != ""


def _tuples(value):
    """Lists as tuples, which can be static settings."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return value
