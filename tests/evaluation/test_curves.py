"""Scores along the path of a metric: recorded, and their means against loops."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
import toy_records
import toys

from jaxattr import metrics, viz
from jaxattr.evaluation import join_records, read_results, tabulate, to_csv, to_markdown

NUM = 200
FRACTIONS = (0.1, 0.25, 0.75)  # Not even.
SETTINGS = {
    **toys.SETTINGS,
    "methods": [{"name": "saliency"}],
    "metrics": [
        {"name": "auprc"},
        {"name": "insertion", "num_steps": 4, "unit": "voxel"},
        {"name": "deletion", "num_steps": 3, "unit": "frame"},
        {"name": "aopc", "num_steps": 5, "unit": "voxel"},
        {"name": "abpc", "num_steps": 5, "unit": "voxel"},
        {"name": "road", "fractions": FRACTIONS, "noise": 0.0},
    ],
}
VOXELS = int(np.prod(toys.SHAPE[:3]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of two clips; nobody writes into it."""
    out = tmp_path_factory.mktemp("curves") / "out"
    toys.run(out, SETTINGS, toys=toys.Toys(2))
    return out


def test_paths_are_those_of_the_metrics_called_directly(folder):
    f, sample = toys.linear(), toys.Toys()[1]
    heat = np.abs(toys.WEIGHT[1]).mean(-1)
    heat = heat - heat.min()
    cut = np.minimum(heat, np.quantile(heat, 0.999))
    heat = jnp.asarray(cut / cut.max(), jnp.float32)
    found = {r["metric"]: r for r in toys.rows(folder) if r["index"] == 1}
    assert found["auprc"]["curve"] is None
    assert found["auprc"]["shown"] is None
    whole = {"unit": "voxel", "num_steps": 5}
    insertion = metrics.insertion(f, num_steps=4, unit="voxel")
    deletion = metrics.deletion(f, num_steps=3, unit="frame")
    gap = metrics.abpc(f, **whole)(sample.clip, 1, heat)
    expected = {
        "insertion": insertion(sample.clip, 1, heat).curve,
        "deletion": deletion(sample.clip, 1, heat).curve,
        "aopc": metrics.aopc(f, **whole)(sample.clip, 1, heat).curve,
        "abpc": gap.least_first - gap.most_first,
    }
    for name, curve in expected.items():
        np.testing.assert_allclose(found[name]["curve"], curve, rtol=2e-5, atol=1e-6)
    gone = np.round(np.array(FRACTIONS) * VOXELS)
    shown = {
        "insertion": np.arange(5) / 4,
        "deletion": 1 - np.arange(4) / 3,
        "aopc": 1 - np.arange(6) / VOXELS,
        "abpc": 1 - np.arange(6) / VOXELS,
        "road": 1 - gone / VOXELS,
    }
    for name, shares in shown.items():
        np.testing.assert_allclose(found[name]["shown"], shares, atol=1e-6)


def test_the_recorded_value_is_of_the_path(folder):
    values = {
        "insertion": lambda c: np.trapezoid(c, dx=1 / (len(c) - 1)),
        "deletion": lambda c: np.trapezoid(c, dx=1 / (len(c) - 1)),
        "aopc": lambda c: np.mean(c[0] - c),
        "abpc": np.mean,
        "road": np.mean,
    }
    records = toys.rows(folder)
    seen = 0
    for record in records:
        if record["curve"] is not None:
            value = values[record["metric"]](np.array(record["curve"]))
            np.testing.assert_allclose(value, record["value"], rtol=2e-5, atol=1e-6)
            seen += 1
    assert seen == 2 * len(values)
    numbers = [x for record in records for x in record["curve"] or ()]
    assert all(x == float(f"{x:.6g}") for x in numbers)


def test_folders_from_before_there_were_paths(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "records-0of1.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record.pop("curve", None)
        record.pop("shown", None)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    join_records(tmp_path)
    assert all(row["curve"] is None for row in toys.rows(tmp_path))
    (old,) = tabulate(read_results(tmp_path).records, num=NUM)
    (new,) = tabulate(read_results(folder).records, num=NUM)
    assert old.curves == {}
    assert set(new.curves) == {"insertion", "deletion", "aopc", "abpc", "road"}
    assert to_markdown([old]) == to_markdown([new])
    assert to_csv([old]) == to_csv([new])
    names = {file.name for file in viz.save_plots(tmp_path / "plots", old)}
    assert "scores-insertion.png" in names
    assert not any(name.startswith("curves") for name in names)


def with_paths(**settings):
    """Records of which one metric has paths, but not those of one method."""
    records = toy_records.make(**settings)
    rng = np.random.default_rng(1)
    for record in records:
        ours = (record["metric"], record["status"]) == ("deletion", "ok")
        if ours and record["method"] != "b":
            record["curve"] = rng.normal(size=4).tolist()
            record["shown"] = [1.0, 0.7, 0.2, 0.0]
    return records


def test_mean_paths_are_those_of_a_loop():
    records = with_paths()
    whole, *parts = tabulate(records, by="group", num=NUM)
    assert set(whole.curves) == {"deletion"}
    assert all(part.curves == {} for part in parts)
    curve = whole.curves["deletion"]
    np.testing.assert_allclose(curve.shown, [1.0, 0.7, 0.2, 0.0])
    for (i, method), step in itertools.product(enumerate(whole.methods), range(4)):
        means = []
        for group in ("motion", "order"):
            by_clip = {}
            for r in records:
                if (r["group"], r["method"]) == (group, method) and "curve" in r:
                    by_clip.setdefault(r["clip"], []).append(r["curve"][step])
            if by_clip:
                means.append(np.mean([np.mean(own) for own in by_clip.values()]))
        mean, low, high = (part[i, step] for part in curve.scores)
        if method == "b":
            assert np.isnan([mean, low, high]).all()
        else:
            np.testing.assert_allclose(mean, np.mean(means), atol=1e-13)
            assert low < mean < high
    # One was not finite: that clip is of one network, not of two.
    assert sum(r["status"] == "not finite" for r in records) == 3


def test_intervals_of_a_path_are_those_of_scores():
    """A step of the path is tabulated like a score."""
    records = [r for r in with_paths() if r["status"] != "undecodable"]
    (table,) = tabulate(records, num=NUM, seed=4)
    taken = [{**r, "value": r["curve"][2]} for r in records if "curve" in r]
    (alone,) = tabulate(taken, num=NUM, seed=4)
    for i, method in enumerate(alone.methods):
        place = table.methods.index(method)
        got = [part[place, 2] for part in table.curves["deletion"].scores]
        np.testing.assert_allclose(got, [part[i, 0] for part in alone.scores])


def test_paths_that_do_not_fit_are_refused():
    records = with_paths()
    found = [r for r in records if "curve" in r]
    found[3] |= {"curve": [0.0] * 5, "shown": [0.0] * 5}
    with pytest.raises(ValueError, match=r"deletion.*4 and of 5.*labels"):
        tabulate(records, num=NUM)
    found[3]["shown"] = None
    with pytest.raises(ValueError, match=r"`curve` of 5 and `shown` of 0"):
        tabulate(records, num=NUM)
    tabulate(records, metrics=["auprc"], num=NUM)  # Others are not concerned.
