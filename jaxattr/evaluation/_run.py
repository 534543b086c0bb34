"""One process at work: its share of every data set, for every network."""

import collections
import contextlib
import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxattr.data import Samples
from jaxattr.evaluation._explain import REFUSALS
from jaxattr.evaluation._folder import Folder
from jaxattr.evaluation._join import find_blocks
from jaxattr.evaluation._loader import Loader
from jaxattr.evaluation._networks import Trained, load
from jaxattr.evaluation._records import RecordsFile, read_blocks
from jaxattr.evaluation._score import as_text, first_line
from jaxattr.evaluation._settings import Choice, Settings
from jaxattr.evaluation._sources import Source
from jaxattr.evaluation._work import Worker

_VERSIONED = ("jaxattr", "jax", "jaxlib", "numpy", "optax")


class Run:
    """The work of one process, and what came of it.

    Args:
      settings: of the evaluation.
      folder: held by this process.
      process: (i, n), its share.
      networks: made in Python, by name.
      sources: kinds of data.
      needs: as of `evaluate`.
      progress: as of `evaluate`.
      say: likewise.

    Attributes:
      counts: fields of `Summary` but for the table.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Folder,
        process: tuple[int, int],
        networks: Mapping[str, Any],
        sources: Mapping[str, Source],
        needs: Mapping[str, Callable[[Any], Any]],
        progress: Callable[[float, float, str], None],
        say: Callable[[str], None],
    ):
        self._settings, self._folder, self._process = settings, folder, process
        self._networks, self._sources, self._needs = networks, sources, needs
        self._progress, self._say = progress, say
        self.counts: dict[str, Any] = {
            "clips": 0,
            "before": 0,
            "undecodable": 0,
            "refused": 0,
            "seconds": 0.0,
            "waited": 0.0,
        }
        self._units = 0.0  # Done, of all that there is to do.

    def everything(self) -> None:
        """Does what of the share is not done yet."""
        settings = self._settings
        self._agree()
        done = self._statuses()
        cells = len(settings.networks) * len(settings.data)
        with contextlib.closing(self._records_file()) as file:
            for number, choice in enumerate(settings.networks):
                if number:  # Programs of a network that is done fill the memory.
                    jax.clear_caches()
                network = self._load(choice)
                worker = functools.cache(functools.partial(self._worker, network))
                for data in settings.data:
                    cells -= 1
                    known = done.get((network.label, data.label), {})
                    self._one(file, network, worker, data, known, cells)

    def _agree(self):
        device = jax.local_devices()[0]
        versions = {name: importlib.metadata.version(name) for name in _VERSIONED}
        weights = {c.label: self._load(c).sha256 for c in self._settings.networks}
        self._folder.agree(
            {
                "settings": self._settings.as_json(),
                "weights": weights,
                "versions": versions,
            },
            {
                "device": device.device_kind,
                "platform": device.platform,
                "devices": jax.local_device_count(),
                "python": platform.python_version(),
            },
        )

    def _load(self, choice) -> Trained:
        return load(choice, self._settings.base, self._networks)

    def _worker(self, network):
        baselines = functools.partial(self._baselines, network.f)
        return Worker(network, self._settings, baselines, self._needs)

    def _statuses(self):
        """What is done by any process: (network, data) -> index -> status."""
        found = find_blocks(self._folder.path, self._settings.rows_per_clip)
        return {
            cell: {index: block.status for index, (_, block) in blocks.items()}
            for cell, blocks in found.items()
        }

    def _records_file(self):
        path, stop = self._folder.records, 0
        for block in read_blocks(path, self._settings.rows_per_clip):
            stop = block.stop
        return RecordsFile(path, stop)

    def _one(self, file, network, worker, data: Choice, known, cells: int):
        """Explains one data set for one network; `cells` more are to come."""
        samples, names = self._samples_or_none(network, data)
        index, count = self._process
        mine = list(names)[index::count]
        todo = [i for i in mine if i not in known]
        before = collections.Counter(known[i] for i in mine if i in known)
        self.counts["before"] += before.total()
        self.counts["undecodable"] += before["undecodable"]
        if not todo:
            return
        start, loader = time.perf_counter(), Loader(samples, todo)
        units = worker().units
        total = self._units + units * (len(todo) + cells * len(mine))
        for i, sample in loader:
            name, after = names[i], self._units + units
            advance = functools.partial(self._advance, total, name)
            advance(0.0)
            records = worker().records(data, name, i, sample, advance)
            file.append(records)
            self.counts["clips"] += 1
            if records[0]["status"] == "undecodable":
                self.counts["undecodable"] += 1
                self._say(f"{name} cannot be decoded: {records[0]['message']}")
            advance(after - self._units)
        self.counts["seconds"] += time.perf_counter() - start
        self.counts["waited"] += loader.waited

    def _advance(self, total, name, units):
        self._units += units
        self._progress(self._units, total, name)

    def _samples_or_none(self, network, data) -> tuple[Any, dict[int, str]]:
        """A data set, and the clips that are explained: index -> name."""
        samples, names, refused = None, {}, None
        try:
            samples = self._samples(network.f, data)
            names = _names(samples, spread(len(samples), data.options["clips"]))
        except REFUSALS as error:
            refused = first_line(error)
            self.counts["refused"] += 1
            self._say(f"{network.label} on {data.label}: {refused}")
        told = list(names.values())
        self._folder.agree_on_clips(network.label, data.label, told, refused)
        return samples, names

    def _samples(self, f, data) -> Samples:
        source, arguments = self._sources[data.name], dict(data.settings)
        for name in source.paths:
            if arguments.get(name) is not None:
                arguments[name] = str(self._settings.base / arguments[name])
        for name in source.tables:
            if name in arguments:
                arguments[name] = self._samples(f, arguments[name])
        return source.make(f, data.options["clips"], **arguments)

    def _baselines(self, f, data) -> np.ndarray:
        samples = self._samples(f, data)
        chosen = spread(len(samples), data.options["clips"])
        return np.stack([samples[i].clip for i in chosen])


def _names(samples, chosen) -> dict[int, str]:
    """The names of clips, by which tables tell them apart."""
    names = {i: as_text(samples.names[i]) for i in chosen}
    twice = [n for n, k in collections.Counter(names.values()).items() if k > 1]
    if twice:
        raise ValueError(f"two of its clips are named {twice[0]!r}.")
    return names


def spread(length: int, num: int | None) -> Sequence[int]:
    """Indices of `num` clips, evenly over a data set, which may be sorted by class."""
    if num is None or num >= length:
        return range(length)
    return [i * length // num for i in range(num)]
