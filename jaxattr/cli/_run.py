"""Explains clip after clip: estimate, progress, report, and on after a bad one."""

import dataclasses
import importlib.metadata
import pathlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

import jaxattr
from jaxattr import viz
from jaxattr._registry import METHODS
from jaxattr.cli import _interrupt
from jaxattr.cli._main import CommandError
from jaxattr.cli._targets import choose, name_of, top

console = Console(stderr=True, highlight=False)


@dataclasses.dataclass(frozen=True)
class Job:
    """One clip to explain.

    Attributes:
      name: of its folder below the run's.
      title: what the page calls it.
      read: -> (clip, source or None); called when its turn comes.
      target: as on the command line.
      truth: [T, H, W] exact evidence, where it is known; drawn beside the methods.
    """

    name: str
    title: str
    read: Callable[[], tuple[np.ndarray, Any]]
    target: str = "auto"
    truth: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """What all clips of a run share.

    Attributes:
      network: a callable pytree with `spec`.
      labels: class names, by index; may be empty.
      methods: by name, with their settings.
      seed: of the random methods' keys.
      out: folder to write.
      facts: shown on every page: the network, its weights.
      notes: sentences that a reader of any page must see first.
    """

    network: Any
    labels: Sequence[str]
    methods: Mapping[str, Mapping[str, Any]]
    seed: int
    out: pathlib.Path
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()


def explain_all(run: Run, jobs: Sequence[Job]) -> int:
    """Explains every job; returns 0, or 1 if some failed.

    Finished clips stay whatever happens later: Ctrl-C and errors leave an index of
    what there is.

    Raises:
      CommandError: `out` cannot be written, or no job's target fits.
    """
    worker = _Worker(run)  # Checks the settings, before there is a folder.
    _make_folder(run.out)
    entries: list[viz.IndexEntry] = []
    try:
        with _progress() as progress:
            task = progress.add_task("starting", total=len(jobs) * worker.units)
            for index, job in enumerate(jobs):
                _interrupt.check()
                progress.update(task, description=job.title[:32])
                _one(
                    worker,
                    job,
                    index,
                    len(jobs),
                    lambda n: progress.advance(task, n),
                    entries,
                )
                progress.update(task, completed=(index + 1) * worker.units)
    finally:
        if entries:
            with _interrupt.held():
                viz.save_index(run.out, entries, warnings=run.notes)
    return _summary(run, entries)


def _one(worker, job, index, count, advance, entries):
    """Explains one clip and adds its line to the index, be it that of a failure."""
    start = time.perf_counter()
    try:
        found = worker.explain(job, index, count, advance)
        with _interrupt.held():  # The index lists every page that there is.
            summary = worker.save(job, found)
            line = f"{summary}, {time.perf_counter() - start:.1f} s"
            entries.append(viz.IndexEntry(job.title, job.name, line))
            console.print(f"  [green]done[/] {escape(f'{job.title}: {line}')}")
    except CommandError:
        raise
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError) as error:
        _interrupt.check()  # Out of C++ it may have come as anything.
        console.print(f"  [red]failed[/] {escape(f'{job.title}: {error}')}")
        entries.append(viz.IndexEntry(job.title, error=str(error)))


class _Found(NamedTuple):
    """What there is to save of one clip."""

    clip: np.ndarray
    source: Any
    target: int
    probabilities: np.ndarray
    results: Mapping[str, Any]
    warnings: Sequence[str]


class _Worker:
    """Compiled functions and weights of a run, used clip after clip."""

    def __init__(self, run: Run):
        self.run = run
        network = jaxattr.fold_convs(run.network) if _on_cpu() else run.network
        predict = jax.jit(lambda f, clip: f(clip))
        self.predict = lambda clip: np.asarray(predict(network, clip), np.float64)
        self.explainers = {
            name: METHODS[name].transform(run.network, **settings)
            for name, settings in run.methods.items()
        }
        self.costs = {
            name: float(METHODS[name].gradients(settings))
            for name, settings in run.methods.items()
        }
        self.units = sum(self.costs.values())
        self.estimated = False

    def explain(self, job, index, count, advance) -> _Found:
        """Explains one clip."""
        run = self.run
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            clip, source = job.read()
            probabilities = _softmax(_finite_logits(self.predict(_finite(clip))))
            target = choose(job.target, probabilities, run.labels)
            if not self.estimated:
                self._estimate(clip, target, count - index)
                self.estimated = True
            results = {}
            for name, explain in self.explainers.items():
                _interrupt.check()
                key = jax.random.fold_in(jax.random.key(run.seed), index)
                results[name] = jax.block_until_ready(explain(clip, target, key=key))
                advance(self.costs[name])
        _interrupt.check()
        told = (str(w.message) for w in caught if issubclass(w.category, UserWarning))
        return _Found(
            clip, source, target, probabilities, results, [*dict.fromkeys(told)]
        )

    def save(self, job: Job, found: _Found) -> str:
        """Writes the report of one clip; returns a line about it."""
        run = self.run
        label = name_of(found.target, run.labels)
        viz.save_report(
            run.out / job.name,
            found.clip,
            _with_truth(found.results, job.truth),
            spec=run.network.spec,
            target=label,
            prediction=top(found.probabilities, run.labels),
            source=found.source,
            settings={**run.facts, **_settings(run, found.target, label)},
            title=job.title,
            warnings=[*run.notes, *found.warnings],
            heatmaps={
                name: METHODS[name].heatmap(result.values.shape)
                for name, result in found.results.items()
            },
        )
        return f"{label} {found.probabilities[found.target]:.3f}"

    def _estimate(self, clip, target, count):
        """Says beforehand how long the run will take and how much memory."""
        explain = jaxattr.saliency(self.run.network)
        gradient = jax.jit(lambda e, c, t: e(c, t).values)
        compiled = gradient.lower(explain, clip, target).compile()
        jax.block_until_ready(compiled(explain, clip, target))
        start = time.perf_counter()
        jax.block_until_ready(compiled(explain, clip, target))
        seconds = (time.perf_counter() - start) * self.units * count
        wide = max(len(s.get("areas", (0,))) for s in self.run.methods.values())
        memory = compiled.memory_analysis()
        weights = sum(leaf.nbytes for leaf in jax.tree.leaves(self.run.network))
        peak = weights + wide * (memory.temp_size_in_bytes if memory else 0)
        console.print(
            f"{count} clip{'s' * (count > 1)} x {len(self.explainers)} methods on "
            f"{jax.devices()[0].device_kind}: about {_duration(seconds)} and "
            f"{peak / 2**30:.1f} GiB, compilation and pictures not counted."
        )


def _progress():
    return Progress(
        TextColumn("{task.description:<32}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _make_folder(out):
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".jaxattr-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"`--out {out}` cannot be written: {error}.") from error


def _summary(run, entries):
    failed = [entry for entry in entries if entry.error is not None]
    done = len(entries) - len(failed)
    console.print(f"{done} of {len(entries)} clips explained: {run.out / 'index.html'}")
    for entry in failed:
        console.print(f"  [red]failed[/] {escape(f'{entry.name}: {entry.error}')}")
    return 1 if failed else 0


def _with_truth(results, truth):
    """Puts the known cause first, as a map like the methods'."""
    if truth is None:
        return results
    return {"evidence (truth)": _Truth(np.asarray(truth, np.float32)), **results}


class _Truth(NamedTuple):
    values: np.ndarray


def _finite(clip):
    bad = int((~np.isfinite(clip)).sum())
    if bad:
        raise ValueError(f"`clip` holds {bad} values that are not finite numbers.")
    return clip


def _finite_logits(logits):
    bad = int((~np.isfinite(logits)).sum())
    if bad:
        raise ValueError(
            f"{bad} of the network's {logits.size} logits are not finite numbers for "
            "this clip: its weights are damaged, or made for another network or input."
        )
    return logits


def _settings(run, target, label):
    settings = {
        "target": f"{target} ({label})",
        "seed": run.seed,
        "device": jax.devices()[0].device_kind,
        "versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("jaxattr", "jax")
        ),
    }
    for method, chosen in run.methods.items():
        settings[method] = {name: str(value) for name, value in chosen.items()}
    return settings


def _softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _on_cpu():
    return jax.default_backend() == "cpu"


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
