"""What the figures of an evaluation share: axes, colours, labels."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxattr.evaluation import Table

BLACK = "#222222"


def new_figure(width: float, height: float):
    """A figure and its axes, of so many inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def metric_label(table: "Table", k: int) -> str:
    """A metric and its direction."""
    better = "higher" if table.higher[k] else "lower"
    return f"{plain(table.metrics[k])} ({better} is better)"


def plain(label: str) -> str:
    """As it is: a dollar sign starts no formula."""
    return label.replace("$", r"\$")


def beside(
    axes, label: str, point: tuple[float, float], share: float, line: dict, **text
) -> None:
    """Writes a label right of the axes, and leads a line from it to its point.

    Args:
      axes: with limits.
      label: in matplotlib's own words; see `plain`.
      point: in data.
      share: where the label stands, of the axes' height.
      line: properties of the line.
      **text: of the label.
    """
    axes.annotate(
        label,
        point,
        xytext=(1.04, share),
        textcoords="axes fraction",
        va="center",
        arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), **line},
        annotation_clip=False,
        **text,
    )
