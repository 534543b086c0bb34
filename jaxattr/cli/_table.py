"""The command `table`."""

import pathlib
from typing import Annotated, Literal

import tyro
from rich.markup import escape

from jaxattr.cli._console import console
from jaxattr.viz._files import replacing


def table(
    folders: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional],
    /,
    by: Literal["network", "data", "group"] | None = None,
    metric: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    baseline: str | None = None,
    random: str = "random",
    format: Literal["markdown", "csv"] = "markdown",
    out: pathlib.Path | None = None,
) -> int:
    """Tabulate evaluations: means with intervals, rank correlations, reliability, cost.

    Means are over groups of clips, intervals over clips; evaluations that are not done
    are tabulated as far as they are. See docs/tables.md.

    Args:
      folders: that `evaluate` wrote; several are taken together.
      by: adds a table for each network, data set or group.
      metric: one to take, may be repeated, the first to sort by; all without it.
      baseline: method that the others are compared with on the same clips.
      random: label of the random map, for the reliability of metrics.
      format: markdown, rounded, or csv, a number a line with all digits.
      out: file to write instead of the terminal.
    """
    from jaxattr import evaluation

    found = evaluation.read_results(*folders)
    tables = evaluation.tabulate(
        found.records,
        by=by,
        metrics=metric or None,
        baseline=baseline,
        random=random,
    )
    if format == "csv":
        text = evaluation.to_csv(tables)
    else:
        text = evaluation.to_markdown(tables, found.notes, found.scales)
    for note in found.notes:
        console.print(escape(note))
    if out is None:
        print(text, end="")
    else:
        with replacing(out) as part:
            part.write_text(text, "utf-8")
        console.print(f"wrote {escape(str(out))}")
    return 0
