"""The command `evaluate`."""

import pathlib
from typing import Annotated

import tyro
from rich.markup import escape

from jaxattr.cli import _interrupt
from jaxattr.cli._console import console
from jaxattr.cli._loop import progress_bar
from jaxattr.cli._main import CommandError

_WEEK = 7 * 24 * 3600  # Seconds; shares of a long evaluation end far apart.


def evaluate(
    settings: Annotated[pathlib.Path, tyro.conf.Positional],
    /,
    out: pathlib.Path = pathlib.Path("evaluation"),
    process: str | None = None,
    coordinator: str | None = None,
) -> int:
    """Run networks x methods x metrics x clips, as a settings file says.

    Writes a line for every clip, method and metric, and in the end records.parquet. Run
    again, it goes on where it was ended. See docs/evaluate.md.

    Args:
      settings: TOML file.
      out: folder to write; several processes may share it.
      process: i/n, to do the i-th of n shares of the clips, from 0.
      coordinator: HOST:PORT at which the n processes meet by `jax.distributed`.
    """
    from jaxattr.evaluation import evaluate

    share = None if process is None else _share(process)
    if coordinator is not None:
        share = _join(coordinator, share)
    with progress_bar() as bar:
        task = bar.add_task("starting", total=None)

        def progress(done, total, note):
            _interrupt.check()
            bar.update(task, description=note[:32], completed=done, total=total)

        summary = evaluate(
            settings,
            out,
            process=share,
            progress=progress,
            say=lambda text: console.print(escape(text)),
        )
    _tell(summary, out)
    nothing = summary.refused and not summary.clips + summary.before
    return 1 if summary.undecodable or nothing else 0


def _share(text):
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise CommandError(
            f"`--process` must be i/n, i from 0 to n - 1, such as 0/2; got {text!r}."
        )
    return int(index), int(count)


def _join(coordinator, share):
    """Meets the other processes; returns the share of this one."""
    import jax

    if share is None:
        raise CommandError("`--coordinator` needs `--process`.")
    jax.distributed.initialize(
        coordinator,
        process_id=share[0],
        num_processes=share[1],
        shutdown_timeout_seconds=_WEEK,
    )
    return jax.process_index(), jax.process_count()


def _tell(summary, out):
    line = f"{summary.clips} clips done"
    if summary.before:
        line += f", {summary.before} were already"
    if summary.undecodable:
        line += f", {summary.undecodable} of them undecodable"
    if summary.refused:
        line += f", data sets refused: {summary.refused}"
    if summary.seconds:
        line += (
            f"; {summary.seconds:.0f} s, {summary.waited / summary.seconds:.0%} of "
            "them waiting for clips to be decoded"
        )
    console.print(f"{line}.")
    if summary.table is None:
        console.print(
            f"other shares of {escape(str(out))} are not done: the last one writes the "
            "table."
        )
    else:
        console.print(f"wrote {escape(str(summary.table))}")
