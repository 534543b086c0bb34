"""Figures hold the numbers of their table, and no two of their words overlap."""

import itertools

import numpy as np
import pytest

from jaxattr import viz
from jaxattr.evaluation import Costs, Curve, Estimates, Table
from jaxattr.viz import _plots
from jaxattr.viz._curves import curves

METRICS = ("auprc", "deletion")


def make(num=40, baseline="method_3"):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(num, 2))
    mean[1] = np.nan  # Refused.
    scores = Estimates(mean, mean - 0.1, mean + 0.2)
    tau = Estimates(*(np.full((2, 2), value) for value in (0.5, 0.1, 0.9)))
    places = range(num)
    return Table(
        part="all",
        methods=tuple(f"method_{i}_{'with_a_long_name' * (i % 2)}" for i in places),
        metrics=METRICS,
        higher=(True, False),
        groups=("motion",),
        scores=scores,
        clips=np.full((num, 2), 5),
        explanations=np.full((num, 2), 5),
        baseline=baseline,
        differences=scores,
        tau=tau,
        random=None,
        reliability=None,
        costs=Costs(
            np.ones(num),
            10.0 ** rng.uniform(-3, 3, num).round(),  # Many share a place.
            np.ones(num),
        ),
        missing=(),
        curves={},
    )


def with_curves(num, end):
    """Paths of the second metric, lower is better, to one end or to any."""
    table = make(num)
    steps = np.linspace(1, 0, 6)
    mean = table.scores.mean[:, 1:] * steps * (end != "one") + steps**2
    shown = Curve(steps, Estimates(mean, mean - 0.1, mean + 0.2))
    if end == "any":
        shown = shown._replace(scores=Estimates(*(p[:, ::-1] for p in shown.scores)))
    worst = table.methods[np.nanargmax(table.scores.mean[:, 1])]
    return table._replace(curves={"deletion": shown}, random=worst)


def texts(figure):
    """Extents of all words, by word."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    shown = (t for t in figure.findobj(Text) if t.get_visible() and t.get_text())
    # Without the line of an annotation, which its own extent counts in.
    return [(t.get_text(), Text.get_window_extent(t)) for t in shown]


def assert_apart(found):
    for (one, a), (other, b) in itertools.combinations(found, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(width, height) <= 1, (one, other)  # Pixels.


@pytest.mark.parametrize("kind", ["_bars", "_cost"])
def test_words_of_forty_methods_do_not_overlap(kind):
    table = make()
    known = ~np.isnan(table.scores.mean[:, 0])
    found = texts(getattr(_plots, kind)(table, 0, known))
    words = [word for word, _ in found]
    for name, one in zip(table.methods, known):
        assert (name in words) == one
    assert_apart(found)


@pytest.mark.parametrize("num", [3, 40])
@pytest.mark.parametrize("end", ["one", "some", "any"])
def test_curves_are_a_line_a_method_and_their_words_do_not_overlap(num, end):
    table = with_curves(num, end)
    curve, value = table.curves["deletion"], table.scores.mean[:, 1]
    figure = curves(table, 1)
    (axes,) = figure.axes
    lines = axes.get_lines()
    known = np.flatnonzero(~np.isnan(curve.scores.mean).all(1))
    assert len(lines) == len(known) == num - 1
    drawn = sorted(tuple(line.get_ydata()) for line in lines)
    assert drawn == sorted(map(tuple, curve.scores.mean[known]))
    assert axes.xaxis_inverted()  # Left to right the units vanish.
    best = sorted(known, key=lambda i: value[i])
    chosen = best[:8]
    if num > 8:
        chosen = [*best[:7], best[-1]]  # The random map is the worst.
    found = texts(figure)
    words = [word for word, _ in found]
    named = {table.methods[i] for i in chosen}
    assert {word for word in words if word.startswith("method_")} == named
    in_legend = [text.get_text() for text in axes.get_legend().get_texts()]
    for i, text in zip(chosen, in_legend):  # Best first.
        assert text.startswith(f"{value[i]:.3f} [")
        assert text.endswith(table.methods[i])
    others = len(known) - len(chosen)
    assert in_legend[len(chosen) :] == ([f"{others} other methods"] if others else [])
    styles = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}
    assert len(styles) == len(chosen) + (others > 0)
    assert len({dash for _, dash in styles} - {"(0, None)"}) >= len(chosen) - 1
    assert_apart(found)


def test_a_path_of_one_place_is_drawn():
    table = with_curves(3, "some")
    curve = table.curves["deletion"]
    one = Curve(curve.shown[:1], Estimates(*(part[:, :1] for part in curve.scores)))
    assert curves(table._replace(curves={"deletion": one}), 1).axes[0].get_lines()


def test_a_group_of_one_clip_is_drawn_without_intervals(tmp_path):
    table, alone = with_curves(3, "some")._replace(random=None), np.arange(3) == 0

    def without(scores):
        ends = (np.where(alone[:, None], np.nan, end) for end in scores[1:])
        return Estimates(scores.mean, *ends)

    curve = table.curves["deletion"]
    shown = {"deletion": curve._replace(scores=without(curve.scores))}
    table = table._replace(scores=without(table.scores), curves=shown)
    files = viz.save_plots(tmp_path, table)
    assert "cost-auprc.png" in {file.name for file in files}
    said = [text for text, _ in texts(curves(table, 1))]
    assert not any("nan" in text for text in said), said


def test_bars_are_the_tables_numbers_with_the_best_on_top():
    table = make(6)
    known = ~np.isnan(table.scores.mean[:, 1])
    axes = _plots._bars(table, 1, known).axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    drawn = {}
    for line in axes.get_lines():
        drawn |= {rows[int(y)]: x for x, y in line.get_xydata()}
    expected = dict(zip(table.methods, table.scores.mean[:, 1]))
    assert drawn == {name: x for name, x in expected.items() if not np.isnan(x)}
    assert drawn[rows[-1]] == min(drawn.values())  # Lower is better.
    ends = {
        rows[int(y)]: (x0, x1)
        for lines in axes.collections
        for (x0, y), (x1, _) in lines.get_segments()
    }
    for name, (low, high) in ends.items():
        np.testing.assert_allclose((low, high), (drawn[name] - 0.1, drawn[name] + 0.2))


def test_files_are_named_after_metrics(tmp_path):
    table = make(3)._replace(metrics=("a/b", "a b"))
    curve = with_curves(3, "one").curves["deletion"]
    table = table._replace(curves={"a b": curve})
    files = viz.save_plots(tmp_path / "new", table)
    names = {file.name for file in files}
    assert names == {
        "scores-a_b.png",
        "scores-a_b-2.png",
        "cost-a_b.png",
        "cost-a_b-2.png",
        "curves-a_b.png",
        "rank-correlation.png",
    }
    assert {file.name for file in (tmp_path / "new").iterdir()} == names
    untimed = table._replace(
        costs=table.costs._replace(seconds=np.full(3, np.nan)), metrics=("a",)
    )
    files = viz.save_plots(tmp_path / "other", untimed)
    assert [file.name for file in files] == ["scores-a.png"]
