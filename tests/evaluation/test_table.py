"""Tables against loops over records, and against scipy."""

import csv
import io
import itertools
import re

import numpy as np
import pytest
import scipy.stats
import toy_records
import toys

from jaxattr import metrics
from jaxattr.evaluation import Scale, read_results, tabulate, to_csv, to_markdown
from jaxattr.evaluation._draws import interval, macro_draws

NUM = 500


def loop_mean(records, method, metric, group=None, minus=None):
    """Clip = mean over networks, group = mean over clips, table = mean over groups."""
    found = {}
    for r in records:
        if (r["method"], r["metric"], r["status"]) != (method, metric, "ok"):
            continue
        value = r["value"]
        if minus is not None:
            same = [
                o["value"]
                for o in records
                if all(o[f] == r[f] for f in ("network", "data", "clip", "metric"))
                and (o["method"], o["status"]) == (minus, "ok")
            ]
            if not same:
                continue
            value -= same[0]
        clips = found.setdefault(r["group"], {})
        clips.setdefault((r["data"], r["clip"]), []).append(value)
    means = {
        g: np.mean([np.mean(values) for values in clips.values()])
        for g, clips in found.items()
    }
    if group is not None:
        return means.get(group, np.nan)
    return np.mean(list(means.values())) if means else np.nan


def test_means_and_differences_are_those_of_a_loop():
    records = toy_records.make()
    (table,) = tabulate(records, baseline="b", num=NUM)
    assert sorted(table.methods) == ["a", "b", "c", "random"]
    assert table.metrics == ("auprc", "deletion", "hit")
    assert table.higher == (True, False, True)
    for (i, method), (k, metric) in itertools.product(
        enumerate(table.methods), enumerate(table.metrics)
    ):
        for got, minus in ((table.scores, None), (table.differences, "b")):
            mean = loop_mean(records, method, metric, minus=minus)
            np.testing.assert_allclose(got.mean[i, k], mean, atol=1e-13)
            if not np.isnan(mean):
                assert got.low[i, k] <= mean <= got.high[i, k]
        ok = [
            r
            for r in records
            if (r["method"], r["metric"], r["status"]) == (method, metric, "ok")
        ]
        assert table.explanations[i, k] == len(ok)
        assert table.clips[i, k] == len({(r["data"], r["clip"]) for r in ok})
    first = table.scores.mean[:, 0]
    assert (np.diff(first) <= 0).all()  # Best first.


def test_parts_are_tables_of_their_records():
    records = toy_records.make()
    whole, *parts = tabulate(records, by="group", num=NUM)
    assert whole.part == "all"
    assert [part.part for part in parts] == ["motion", "order"]
    for part in parts:
        own = [r for r in records if r["group"] == part.part]
        (alone,) = tabulate(own, num=NUM)
        assert alone.methods == part.methods
        for got, expected in zip(part.scores, alone.scores):
            np.testing.assert_array_equal(got, expected)
        for i, method in enumerate(part.methods):
            mean = loop_mean(records, method, "auprc", part.part)
            np.testing.assert_allclose(part.scores.mean[i, 0], mean)
    by_network = tabulate(records, by="network", num=NUM)
    assert [part.part for part in by_network[1:]] == ["conv", "lstm"]
    own = [r for r in records if r["network"] == "lstm"]
    place = by_network[2].methods.index("a")
    mean = loop_mean(own, "a", "auprc")
    np.testing.assert_allclose(by_network[2].scores.mean[place, 0], mean)


def test_intervals_of_one_group_are_those_of_the_paired_bootstrap():
    records = [r for r in toy_records.make() if r["group"] == "order"]
    records = [r for r in records if r["network"] == "conv"]
    (table,) = tabulate(records, baseline="b", num=NUM, seed=3)
    values = {
        method: np.array(
            [
                r["value"]
                for r in records
                if (r["method"], r["metric"]) == (method, "auprc")
            ]
        )
        for method in ("a", "b")
    }
    place = table.methods.index("a")
    alone = metrics.paired_bootstrap(values["a"], num=NUM, seed=3)
    paired = metrics.paired_bootstrap(values["a"], values["b"], num=NUM, seed=3)
    for got, expected in ((table.scores, alone), (table.differences, paired)):
        np.testing.assert_allclose([part[place, 0] for part in got], expected)


def test_marks_follow_the_direction():
    records = toy_records.make(num_clips=12)
    for record in records:  # Better than b on every clip, whichever way that is.
        if record["method"] == "c" and record["status"] == "ok":
            other = next(
                o["value"]
                for o in records
                if o["method"] == "b"
                and all(o[f] == record[f] for f in ("network", "data", "clip"))
                and o["metric"] == record["metric"]
            )
            better = 0.1 if record["direction"] == "higher" else -0.1
            record["value"] = other + better
    (table,) = tabulate(records, baseline="b", num=NUM)
    np.testing.assert_array_equal(table.marks[table.methods.index("c")], [1, 1, 0])
    np.testing.assert_array_equal(table.marks[table.methods.index("b")], 0)
    lines = to_markdown([table]).splitlines()
    (line,) = [line for line in lines if line.startswith("| c | ") and "▲" in line]
    assert line.count("▲") == 2  # The third was refused.


def test_tau_is_scipys_over_the_methods_that_both_metrics_have():
    records = toy_records.make(num_methods=8)
    (table,) = tabulate(records, num=200)
    signs = np.where(table.higher, 1, -1)
    for j, k in itertools.combinations(range(3), 2):
        pair = (table.scores.mean * signs)[:, [j, k]]
        pair = pair[~np.isnan(pair).any(1)]
        expected = scipy.stats.kendalltau(*pair.T).statistic
        np.testing.assert_allclose(table.tau.mean[j, k], expected)
        np.testing.assert_allclose(table.tau.mean[k, j], expected)
        assert table.tau.low[j, k] <= table.tau.high[j, k]
    assert np.isnan(table.scores.mean).any()  # There was a hole.


def test_tau_has_an_interval_that_tells_agreement_from_noise():
    rng = np.random.default_rng(0)
    records = []
    for clip, place in itertools.product(range(40), range(10)):
        worth = place / 10
        noise = rng.normal(size=3)
        for metric, value in {
            "one": worth + 0.05 * noise[0],
            "same": 3 * worth + 0.05 * noise[1],
            "opposite": -worth + 0.05 * noise[2],
        }.items():
            records.append(
                toy_records.record(clip, f"m{place}", metric, value, network="conv")
            )
    (table,) = tabulate(records, num=200)
    assert table.tau.low[0, 1] > 0.9
    assert table.tau.high[0, 2] < -0.9


def test_reliability_is_the_mean_over_networks_and_groups():
    records = toy_records.make()
    (table,) = tabulate(records, num=NUM)
    by_group = []
    for group in ("motion", "order"):
        by_network = []
        for network in ("conv", "lstm"):
            rows = {}
            for r in records:
                if (r["group"], r["network"], r["metric"]) == (group, network, "auprc"):
                    rows.setdefault(r["clip"], {})[r["method"]] = r["value"]
            methods = ["random", "a", "b", "c"]
            scores = [[row[m] for m in methods] for row in rows.values()]
            scores = [row for row in scores if None not in row]
            by_network.append(metrics.reliability(np.array(scores)).alpha)
        by_group.append(np.mean(by_network))
    np.testing.assert_allclose(table.reliability.alpha[0], np.mean(by_group))
    assert tabulate(records, random="chance", num=NUM)[0].reliability is None


def test_csv_has_the_numbers_that_markdown_rounds():
    (table,) = tables = tabulate(toy_records.make(), baseline="b", num=NUM)
    rows = list(csv.DictReader(io.StringIO(to_csv(tables))))
    scores = {(r["row"], r["column"]): r for r in rows if r["table"] == "score"}
    text = to_markdown(tables)
    lines = {line.split(" | ")[0][2:]: line for line in reversed(text.splitlines())}
    shown = 0
    for i, method in enumerate(table.methods):
        for k, metric in enumerate(table.metrics):
            row = scores[method, metric]
            cell = lines[method].strip("| ").split(" | ")[k + 1]
            if not row["mean"]:
                assert cell.startswith("–")
                continue
            numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", cell)]
            expected = [float(row[name]) for name in ("mean", "low", "high")]
            assert expected == [part[i, k] for part in table.scores]
            np.testing.assert_allclose(numbers, expected, atol=5.01e-4)
            shown += 1
    assert shown == 11
    missing = [r for r in rows if r["table"] == "missing"]
    counts = {(r["row"], r["column"]): int(r["of"]) for r in missing}
    assert counts["c / hit", "refused: no boxes"] == 18
    assert counts["a / auprc", "undecodable: torn"] == 2


def test_what_is_missing_is_counted():
    text = to_markdown(tabulate(toy_records.make(), num=NUM), ["ours: 3 of 9 clips."])
    assert "- ours: 3 of 9 clips." in text
    assert "| refused | no boxes | c | hit | 18 | 18 |" in text
    assert "| undecodable | torn | all | all | 2 | 24 |" in text
    assert re.search(r"\| a \| .* \(17\)", text)  # Not finite on one.


def test_range_and_chance_stand_below_the_scores():
    tables = tabulate(toy_records.make(), num=NUM)
    text = to_markdown(tables, scales={"hit": Scale("0 or 1", "a tenth")})
    assert "| hit | higher | 0 or 1 | a tenth |" in text
    assert "What the scores are" not in to_markdown(tables)


def test_records_come_from_folders_that_are_not_done(tmp_path):
    records = [r for r in toy_records.make() if r["network"] == "conv"]
    toy_records.write(tmp_path, records)
    found = read_results(tmp_path)
    assert found.notes == (
        "conv on evidence: 10 of 12 clips are done.",
        "conv on others: refused, `family` is unknown",
        "lstm on evidence: not begun.",
        "lstm on others: not begun.",
    )
    got = list(found.records)
    assert len(got) == len(records)
    for record in records:
        assert record in got
    with pytest.raises(ValueError, match=r"no settings\.json"):
        read_results(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="outs"):
        read_results()


@pytest.mark.parametrize("status", ["undecodable", "refused"])
def test_nothing_but_what_is_missing(status):
    records = [r for r in toy_records.make() if r["status"] == status]
    (table,) = tables = tabulate(records, num=NUM)
    assert np.isnan(table.scores.mean).all()
    assert np.isnan(table.scores.low).all()
    text = to_markdown(tables)
    assert f"| {status} |" in text
    assert "missing" in to_csv(tables)


@pytest.mark.slow
def test_what_evaluate_writes_is_tabulated(tmp_path):
    toys.run(tmp_path, toys=toys.Toys(3, undecodable=(1,)))
    found = read_results(tmp_path)
    records = list(found.records)
    kept = [{k: v for k, v in r.items() if v is not None} for r in records]
    joined = toys.rows(tmp_path, times=True)
    assert kept == [{k: v for k, v in r.items() if v is not None} for r in joined]
    assert found.notes == ()
    (table,) = tabulate(records, num=NUM)
    for i, method in enumerate(table.methods):
        mean = loop_mean(records, method, "insertion")
        np.testing.assert_allclose(table.scores.mean[i, 1], mean)
    assert table.groups == ("noise",)
    assert (table.clips == 2).all()
    assert "| undecodable |" in to_markdown([table])


def test_mistakes_are_told():
    records = toy_records.make()
    with pytest.raises(ValueError, match=r"metrics.*auprk.*auprc"):
        tabulate(records, metrics=["auprk"])
    with pytest.raises(ValueError, match="baseline"):
        tabulate(records, baseline="rand")
    with pytest.raises(ValueError, match="by"):
        tabulate(records, by="clip")
    with pytest.raises(ValueError, match="same"):
        tabulate([*records, records[0]])
    with pytest.raises(ValueError, match="empty"):
        tabulate([])
    with pytest.raises(ValueError, match="directions"):
        tabulate([*records, {**records[0], "clip": "x", "direction": "lower"}])


def test_the_order_of_metrics_is_the_callers_and_of_records_does_not_matter():
    records = toy_records.make()
    one = tabulate(records, metrics=["deletion", "auprc"], num=NUM)[0]
    assert one.metrics == ("deletion", "auprc")
    assert (np.diff(one.scores.mean[:, 0]) >= 0).all()  # Lower is better.
    two = tabulate(records[::-1], metrics=["deletion", "auprc"], num=NUM)[0]
    assert one.methods == two.methods
    np.testing.assert_allclose(one.scores.mean, two.scores.mean)
    for cost, other in zip(one.costs, two.costs):
        np.testing.assert_array_equal(cost, other)


def test_draws_leave_holes_and_empty_groups_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, 4))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 3] = np.nan
    values[5, 3] = 2.0  # In one clip of one group, hence not in every draw.
    groups = np.array([0, 1, 0, 1, 1, 1, 0, 0, 0])
    got = macro_draws(values, groups, num=50, seed=7)
    again = np.random.default_rng(7)
    parts = [values[groups == group] for group in (0, 1)]
    chosen = [again.integers(len(part), size=(50, len(part))) for part in parts]
    for draw, column in np.ndindex(50, 4):
        means = []
        for part, rows in zip(parts, chosen):
            one = part[rows[draw], column]
            means += [one[~np.isnan(one)].mean()] if (~np.isnan(one)).any() else []
        expected = np.mean(means) if means else np.nan
        np.testing.assert_allclose(got[draw, column], expected)
    assert np.isnan(got[:, 3]).any()
    low, high = interval(got)
    assert (low[3], high[3]) == (2, 2)


def test_a_group_of_one_clip_has_no_interval_and_no_mark():
    """Drawn without that clip, a mean would be of the other groups alone."""
    rng = np.random.default_rng(1)
    records = [
        {
            **{"network": "n", "data": group, "group": group, "clip": str(clip)},
            **{"metric": "auprc", "direction": "higher", "seconds": None},
            **{"method": method, "value": level + 0.01 * rng.normal(), "status": "ok"},
        }
        for group in ("a", "b")
        for clip in range(5)
        for method, level in (("base", 0.1), ("many", 0.9), ("once", 0.9))
        if method != "once" or clip == 0
    ]
    (table,) = tabulate(records, baseline="base", num=NUM)
    once, many = table.methods.index("once"), table.methods.index("many")
    assert table.marks[:, 0][[once, many]].tolist() == [0, 1]
    assert np.isnan([table.scores.low[once, 0], table.scores.high[once, 0]]).all()
    assert table.scores.mean[once, 0] == pytest.approx(0.9, abs=0.05)
    assert table.scores.high[many, 0] - table.scores.low[many, 0] < 0.05


def test_one_clip_in_a_group_leaves_rank_correlations_without_an_interval():
    """It would be drawn every time, as if no other clip could come in its place."""
    for size in (5, 1):
        made = toy_records.make()
        kept = [r for r in made if r["clip"] < f"order-{size}" and r["clip"] != "torn"]
        (table,) = tabulate(kept, num=NUM)
        assert np.isfinite(table.tau.mean).all()
        assert np.isnan(table.tau.low).all() == (size == 1)
