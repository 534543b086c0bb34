"""The scores along the path of a metric, a line a method."""

from typing import TYPE_CHECKING

import numpy as np

from jaxattr.viz._axes import BLACK, beside, metric_label, new_figure, plain

if TYPE_CHECKING:
    from jaxattr.evaluation import Table

_NUM = 8  # Lines that an eye can follow.
# Colours that colour-blind eyes tell apart, with dashes that need no colour.
_STYLES = (
    {"color": "#0072B2", "ls": "-"},
    {"color": "#D55E00", "ls": (0, (6, 2))},
    {"color": "#009E73", "ls": (0, (6, 2, 1, 2))},
    {"color": "#CC79A7", "ls": (0, (3, 1.5))},
    {"color": "#E69F00", "ls": (0, (1, 1))},
    {"color": "#56B4E9", "ls": (0, (10, 3))},
    {"color": "#8C510A", "ls": (0, (6, 2, 1, 2, 1, 2))},
    {"color": "#6A3D9A", "ls": (0, (3, 1, 3, 3))},
)
_RANDOM = {"color": BLACK, "ls": (0, (1, 3))}
_OTHERS = {"color": "#b8b8b8", "lw": 0.7}
_STEP = 0.06  # Between two labels, of the height of the axes.


def curves(table: "Table", k: int):
    """The best methods and the random map with their intervals, all others in grey.

    From left to right units appear, or vanish, hottest first. Labels stand at the ends
    of the lines, the recorded values in the legend, best first.
    """
    curve = table.curves[table.metrics[k]]
    known = ~np.isnan(curve.scores.mean).all(1)
    chosen = _chosen(table, k, known)
    styles = _styles(table, chosen)
    figure, axes = new_figure(7.5, 4.2)
    others = [i for i in np.flatnonzero(known) if i not in chosen]
    for i in others:
        axes.plot(curve.shown, curve.scores.mean[i], **_OTHERS, zorder=1.5)
    for i in chosen[::-1]:  # The best on top.
        mean, low, high = (part[i] for part in curve.scores)
        colour = styles[i]["color"]
        axes.fill_between(curve.shown, low, high, color=colour, alpha=0.1, lw=0)
        axes.plot(curve.shown, mean, **styles[i], lw=1.6)
    axes.margins(x=0)
    axes.tick_params(axis="y", pad=5)  # Both axes have a number at the corner.
    if curve.shown[0] > curve.shown[-1]:
        axes.invert_xaxis()
    axes.set_ylim(axes.get_ylim())
    axes.grid(color="#dddddd", lw=0.8)
    _name_ends(axes, table, curve, styles)
    axes.set_xlabel("share of units shown")
    axes.set_ylabel("score, mean and 95 % interval over clips")
    axes.set_title(metric_label(table, k), fontsize=9)
    _legend(axes, table, k, styles, len(others))
    return figure


def _chosen(table, k, known):
    """Places of the methods that have a label, best first."""
    mean = table.scores.mean[:, k]
    order = np.argsort(-mean if table.higher[k] else mean, kind="stable")
    order = [i for i in order if known[i]]
    best = order[:_NUM]
    if table.random is not None:
        control = table.methods.index(table.random)
        if known[control] and control not in best:
            best = [*order[: _NUM - 1], control]
    return best


def _styles(table, chosen):
    rest = iter(_STYLES)
    return {
        i: _RANDOM if table.methods[i] == table.random else next(rest) for i in chosen
    }


def _name_ends(axes, table, curve, styles):
    """Lines that end in one place are named in the order in which they ran before."""
    means = curve.scores.mean[list(styles)]
    bottom, top = axes.get_ylim()
    ends = (means[:, -1] - bottom) / (top - bottom)
    order = np.lexsort((means.mean(1), np.round(ends * 50)))
    # Each above the one below, and as near to its end as the top lets it.
    steps = _STEP * np.arange(len(order))
    shares = np.maximum.accumulate(ends[order] - steps)
    shares = np.minimum(shares, 1 - steps[-1]) + steps
    places = list(styles)
    for place, share in zip(order, shares):
        i, mean = places[place], means[place]
        point, text = (curve.shown[-1], mean[-1]), plain(table.methods[i])
        line = {**styles[i], "lw": 0.8, "shrinkA": 2, "shrinkB": 0}
        beside(axes, text, point, share, line, fontsize=8, color=styles[i]["color"])


def _legend(axes, table, k, styles, num_others):
    """Below the axes, where no line can lie under it."""
    from matplotlib.lines import Line2D

    handles = []
    for i, style in styles.items():
        mean, low, high = (part[i, k] for part in table.scores)
        interval = "" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]"
        text = f"{mean:.3f}{interval}  {plain(table.methods[i])}"
        handles.append(Line2D([], [], **style, lw=1.6, label=text))
    if num_others:
        text = f"{num_others} other methods"
        handles.append(Line2D([], [], **_OTHERS, label=text))
    axes.legend(
        handles=handles,
        title=f"{plain(table.metrics[k])}, mean and 95 % interval",
        loc="upper left",
        bbox_to_anchor=(0, -0.14),
        ncols=2,
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        handlelength=4,
        frameon=False,
    )
