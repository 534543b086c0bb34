"""Explains clip after clip, and writes a page for each."""

import importlib.metadata
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxattr import viz
from jaxattr._registry import METHODS
from jaxattr.cli._loop import summarise, work_through
from jaxattr.cli._targets import name_of, top
from jaxattr.cli._worker import Found, Job, Run, Worker


def explain_all(run: Run, jobs: Sequence[Job]) -> int:
    """Explains every job; returns 0, or 1 if some failed.

    Finished clips stay whatever happens later: Ctrl-C and errors leave an index of
    what there is.

    Raises:
      CommandError: `out` cannot be written, or no job's target fits.
    """
    worker = _Worker(run)  # Checks the settings, before there is a folder.
    entries = work_through(
        worker,
        jobs,
        lambda entries: viz.save_index(run.out, entries, warnings=run.notes),
    )
    return summarise(entries, f"explained: {run.out / 'index.html'}")


class _Worker(Worker):
    def save(self, job: Job, found: Found) -> str:
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


def _with_truth(results, truth):
    """Puts the known cause first, as a map like the methods'."""
    if truth is None:
        return results
    return {"evidence (truth)": _Truth(np.asarray(truth, np.float32)), **results}


class _Truth(NamedTuple):
    values: np.ndarray


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
