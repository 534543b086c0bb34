"""Figures of an evaluation, drawn from its table."""

import math
import pathlib
import re
from typing import TYPE_CHECKING

import numpy as np

from jaxattr.data._extras import need
from jaxattr.viz._axes import BLACK, beside, metric_label, new_figure, plain
from jaxattr.viz._curves import curves
from jaxattr.viz._files import filling

if TYPE_CHECKING:
    from jaxattr.evaluation import Table

# Okabe and Ito's colours, told apart by colour-blind eyes, and by their lightness.
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#999999"
_COLOURS = {1: _BLUE, 0: _GREY, -1: _ORANGE}
_ROW = 0.22  # Inches of height for a label.
_DPI = 150


def save_plots(folder: str | pathlib.Path, table: "Table") -> list[pathlib.Path]:
    """Draws what `evaluation.tabulate` found.

    Writes `scores-<metric>.png`, means with intervals; `cost-<metric>.png`, the mean
    over the seconds of an explanation, where any are known; `curves-<metric>.png`, the
    scores along its path, where records have them: of the best methods and the random
    map, all others in grey; and, of two metrics or more, `rank-correlation.png`. With
    a baseline, colour tells which methods are better or worse on the same
    explanations; not in the curves.

    Args:
      folder: made if need be.
      table: one of those that `evaluation.tabulate` returns.

    Returns:
      The files.

    Raises:
      OSError: `folder` cannot be written.
      ImportError: matplotlib is not installed.
    """
    need("matplotlib", "matplotlib", "viz")
    figures = {}
    for k, metric in enumerate(table.metrics):
        known = ~np.isnan(table.scores.mean[:, k])
        if known.any():
            figures[_name("scores", metric, figures)] = _bars(table, k, known)
        known &= np.nan_to_num(table.costs.seconds) > 0  # The axis is logarithmic.
        if known.any():
            figures[_name("cost", metric, figures)] = _cost(table, k, known)
        if metric in table.curves:
            figures[_name("curves", metric, figures)] = curves(table, k)
    if len(table.metrics) > 1:
        figures["rank-correlation.png"] = _matrix(table)
    with filling(folder) as stage:
        for name, figure in figures.items():
            figure.savefig(stage / name, dpi=_DPI, bbox_inches="tight")
    return [pathlib.Path(folder) / name for name in figures]


def _name(kind, metric, taken):
    """A file name that no earlier one is, whatever the label holds."""
    stem = f"{kind}-{re.sub(r'[^A-Za-z0-9_.=-]+', '_', metric)}"
    name, count = f"{stem}.png", 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}.png"
    return name


def _bars(table: "Table", k, known):
    """One row a method, the best on top, its interval as a line."""
    mean, low, high = (part[known, k] for part in table.scores)
    marks = table.marks[known, k]
    names = [name for name, one in zip(table.methods, known) if one]
    order = np.argsort(-mean if table.higher[k] else mean, kind="stable")[::-1]
    figure, axes = new_figure(6.5, 1.2 + _ROW * len(order))
    rows = np.arange(len(order))
    for mark, colour in _COLOURS.items():
        at = marks[order] == mark
        chosen = order[at]
        axes.hlines(rows[at], low[chosen], high[chosen], color=colour, lw=2)
        axes.plot(mean[chosen], rows[at], "o", color=colour, ms=5)
    axes.set_yticks(rows, [plain(names[i]) for i in order], fontsize=8)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.grid(axis="x", color="#dddddd", lw=0.8)
    axes.set_xlabel(f"{metric_label(table, k)}, mean and 95 % interval over clips")
    _legend(axes, table)
    return figure


def _cost(table: "Table", k, known):
    """Labels stand at the right, evenly, and lines lead to their points."""
    mean, low, high = (part[known, k] for part in table.scores)
    seconds, marks = table.costs.seconds[known], table.marks[known, k]
    names = [name for name, one in zip(table.methods, known) if one]
    figure, axes = new_figure(7.5, max(3.5, 1 + 0.8 * _ROW * len(names)))
    axes.set_xscale("log")
    for i, mark in enumerate(marks):
        colour = _COLOURS[int(mark)]
        axes.vlines(seconds[i], low[i], high[i], color=colour, lw=1, alpha=0.6)
        axes.plot(seconds[i], mean[i], "o", color=colour, ms=5)
    axes.set_xlim(seconds.min() / 1.5, seconds.max() * 1.5)
    ends = [mean, low, high]  # A group of one clip leaves a mean without an interval.
    bottom, top = np.nanmin(ends), np.nanmax(ends)
    margin = 0.05 * (top - bottom) or 0.05
    bottom, top = bottom - margin, top + margin
    axes.set_ylim(bottom, top)
    axes.grid(color="#dddddd", lw=0.8)
    places = _spread(mean, bottom, top)
    for i, name in enumerate(names):
        point, share = (seconds[i], mean[i]), (places[i] - bottom) / (top - bottom)
        line = {"color": "#bbbbbb", "lw": 0.6}
        beside(axes, plain(name), point, share, line, fontsize=7)
    axes.set_xlabel("seconds of an explanation, median")
    axes.set_ylabel(metric_label(table, k))
    _legend(axes, table)
    return figure


def _matrix(table: "Table"):
    """Cells with their number; in bold where the interval excludes 0."""
    tau, low, high = table.tau
    num = len(table.metrics)
    side = 2.2 + 0.55 * num
    figure, axes = new_figure(side + 0.6, side)
    shown = np.where(np.eye(num, dtype=bool), np.nan, tau)
    image = axes.imshow(shown, cmap="PuOr", vmin=-1, vmax=1)
    for j in range(num):
        for k in range(num):
            if j != k and not math.isnan(tau[j, k]):
                sure = low[j, k] > 0 or high[j, k] < 0
                axes.text(
                    k,
                    j,
                    f"{tau[j, k]:.2f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    fontweight="bold" if sure else "normal",
                    color="white" if abs(tau[j, k]) > 0.6 else BLACK,
                )
    names = [plain(name) for name in table.metrics]
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(num), names, fontsize=8, **slanted)
    axes.set_yticks(range(num), names, fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(
        "Order of the methods under two metrics\nbold: 95 % interval excludes 0",
        fontsize=9,
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("Kendall's tau")
    return figure


def _legend(axes, table):
    """Below the axes, where no point can lie under it."""
    if table.baseline is None:
        return
    from matplotlib.lines import Line2D

    words = {1: "better", 0: "undecided", -1: "worse"}
    marks = [
        Line2D([], [], color=_COLOURS[mark], marker="o", label=word)
        for mark, word in words.items()
    ]
    axes.legend(
        handles=marks,
        title=f"against {plain(table.baseline)} on the same explanations",
        loc="lower right",
        bbox_to_anchor=(1, 1.01),
        ncols=3,
        fontsize=8,
        title_fontsize=8,
        frameon=False,
    )


def _spread(values, bottom, top):
    """Places for labels, in the order of the values, evenly from bottom to top."""
    places = np.empty(len(values))
    order = np.argsort(values, kind="stable")
    places[order] = np.linspace(bottom, top, len(values) + 2)[1:-1]
    return places
