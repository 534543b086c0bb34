"""The command `plot`."""

import pathlib
from typing import Annotated

import tyro
from rich.markup import escape

from jaxattr.cli._console import console


def plot(
    folders: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional],
    /,
    out: pathlib.Path = pathlib.Path("plots"),
    metric: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    baseline: str | None = None,
    random: str = "random",
) -> int:
    """Draw evaluations: scores with intervals, their curves, cost, rank correlations.

    The numbers are those of `jaxattr table`.

    Args:
      folders: that `evaluate` wrote; several are taken together.
      out: folder to write PNGs to.
      metric: one to draw, may be repeated; all without it.
      baseline: method that the others are compared with on the same clips.
      random: label of the random map, which the curves show beside the best methods.
    """
    from jaxattr import evaluation, viz

    found = evaluation.read_results(*folders)
    (whole,) = evaluation.tabulate(
        found.records, metrics=metric or None, baseline=baseline, random=random
    )
    for note in found.notes:
        console.print(escape(note))
    for path in viz.save_plots(out, whole):
        console.print(f"wrote {escape(str(path))}")
    return 0
