"""Clip after clip: progress, on after a bad one, and what came of it."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jaxattr import viz
from jaxattr.cli import _interrupt
from jaxattr.cli._console import console
from jaxattr.cli._main import CommandError
from jaxattr.cli._worker import Job, Worker


def work_through(
    worker: Worker,
    jobs: Sequence[Job],
    finish: Callable[[Sequence[viz.IndexEntry]], Any] = lambda entries: None,
) -> Sequence[viz.IndexEntry]:
    """Explains and saves every job; returns one entry for each, failed ones too.

    Finished clips stay whatever happens later: `finish` is called after every clip,
    with all entries so far.

    Raises:
      CommandError: the run's folder cannot be written, or no job's target fits.
    """
    _make_folder(worker.run.out)
    entries: list[viz.IndexEntry] = []

    def add(*entry, **fields):
        entries.append(viz.IndexEntry(*entry, **fields))
        finish(entries)

    with progress_bar() as progress:
        task = progress.add_task("starting", total=len(jobs) * worker.units)
        for index, job in enumerate(jobs):
            _interrupt.check()
            progress.update(task, description=job.title[:32])
            advance = functools.partial(progress.advance, task)
            _one(worker, job, index, len(jobs), advance, add)
            progress.update(task, completed=(index + 1) * worker.units)
    return entries


def progress_bar() -> Progress:
    """A bar with what is done and the time that is left."""
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


def summarise(entries: Sequence[viz.IndexEntry], what: str) -> int:
    """Says how many clips succeeded and why others did not; returns the exit status."""
    failed = [entry for entry in entries if entry.error is not None]
    console.print(f"{len(entries) - len(failed)} of {len(entries)} clips {what}")
    for entry in failed:
        console.print(f"  [red]failed[/] {escape(f'{entry.name}: {entry.error}')}")
    return 1 if failed else 0


def _one(worker, job, index, count, advance, add):
    """Explains one clip and adds its line to the index, be it that of a failure."""
    start = time.perf_counter()
    try:
        found = worker.explain(job, index, count, advance)
        with _interrupt.held():  # The index lists every page that there is.
            summary = worker.save(job, found)
            line = f"{summary}, {time.perf_counter() - start:.1f} s"
            add(job.title, job.name, line)
            console.print(f"  [green]done[/] {escape(f'{job.title}: {line}')}")
    except CommandError:
        raise
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError) as error:
        _interrupt.check()  # Out of C++ it may have come as anything.
        console.print(f"  [red]failed[/] {escape(f'{job.title}: {error}')}")
        with _interrupt.held():
            add(job.title, error=str(error))


def _make_folder(out):
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".jaxattr-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"`--out {out}` cannot be written: {error}.") from error
