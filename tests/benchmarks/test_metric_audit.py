"""The audit of metrics: its numbers by hand, and the whole of it in small."""

import hashlib
import json
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
import _audit
import _audit_table
import _maps
import metric_audit


def certificate(parts, windows, absent):
    return SimpleNamespace(
        parts=np.array(parts), windows=np.array(windows), absent=absent
    )


def in_quarters(num_parts, frames=8):
    """Parts that lie beside each other, one pixel of a row each."""
    parts = np.zeros((num_parts, frames, 1, num_parts), bool)
    for p in range(num_parts):
        parts[p, :, 0, p] = True
    return parts


def test_truth_weighs_parts_by_their_falls_and_evidence_by_its_windows():
    # Background, still, mover, target; two frames to a window.
    found = certificate([0.5, -1.0, 0.0, 4.0], [2.0, 1.0, -3.0, 0.0], absent=4.0)
    got = _maps.interventional_truth("motion", in_quarters(4), found)
    np.testing.assert_allclose(got[:, 0, 0], 0.5)
    assert not got[:, 0, 1:3].any()
    np.testing.assert_allclose(got[:, 0, 3], [4, 4, 2, 2, 0, 0, 0, 0])


def test_truth_keeps_all_frames_where_no_window_matters_alone():
    found = certificate([0.0, 0.0, 0.0, 4.0], [0.1, -1.0, 0.0, 0.0], absent=4.0)
    got = _maps.interventional_truth("motion", in_quarters(4), found)
    np.testing.assert_allclose(got[:, 0, 3], 4)


@pytest.mark.parametrize(
    ("family", "falls", "want"),
    # Both needed: each loses all of 6. Either enough: neither loses anything alone.
    [
        ("and", (6.0, 6.0), (3, 3)),
        ("or", (0.0, 0.0), (3, 3)),
        ("or", (2, 1), (3.5, 2.5)),
    ],
)
def test_truth_shares_what_two_things_do_together(family, falls, want):
    found = _maps.evidence.FAMILIES[family]
    parts = np.zeros(len(found.parts))
    chosen = np.flatnonzero(found.is_evidence)
    parts[chosen] = falls
    got = _maps.interventional_truth(
        family, in_quarters(len(parts)), certificate(parts, np.ones(4), 6.0)
    )
    np.testing.assert_allclose(got[0, 0, chosen], want)


def test_similarity_is_that_of_scipy():
    maps = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    truth = np.round(maps[1] + maps[2])  # Ties.
    got = _audit.similarity(maps, truth)
    for i, one in enumerate(maps):
        spearman = stats.spearmanr(one.ravel(), truth.ravel()).statistic
        pearson = stats.pearsonr(one.ravel(), truth.ravel()).statistic
        np.testing.assert_allclose(got["spearman"][i], spearman, rtol=1e-12)
        np.testing.assert_allclose(got["pearson"][i], pearson, rtol=1e-12)


# What a sound metric gives the maps: noise, evidence, truth, method, its blur, blurred
# noise, edges, motion, centre.
SOUND = np.array([0.0, 0.9, 1.0, 0.8, 0.7, 0.02, 0.1, 0.2, 0.3])
COLUMN = {name: i for i, name in enumerate(_maps.MAPS)}


def judged(worth, *, higher=True, num=24, noise=0.01):
    rng = np.random.default_rng(1)
    worth = worth + noise * rng.normal(size=(num, len(worth)))
    alike = {"spearman": np.tile(SOUND, (num, 1)), "pearson": np.tile(SOUND, (num, 1))}
    return _audit.judge(worth if higher else -worth, higher, alike)


@pytest.mark.parametrize("higher", [True, False])
def test_a_sound_metric_is_trusted_in_either_direction(higher):
    row = judged(SOUND, higher=higher)
    assert row["trust"] == "yes"
    sign = 1 if higher else -1
    assert row["scores"]["interventional"]["mean"] == pytest.approx(sign, abs=0.01)
    assert row["blurring"]["method"]["mean"] == pytest.approx(-0.1, abs=0.01)
    assert row["blurring"]["random"]["mean"] == pytest.approx(0.02, abs=0.01)
    excess = 0.02 - _audit.BLUR * 1.0
    assert row["excess"]["random"]["mean"] == pytest.approx(excess, abs=0.01)
    assert all(pair["mean"] == 1 for pair in row["above"].values())
    assert row["correlation"]["pearson"]["mean"] > 0.95
    assert row["alpha"]["low"] > 0.9 > row["alpha"]["chance"] == pytest.approx(10 / 192)


@pytest.mark.parametrize(
    ("name", "worth", "want"),
    [
        ("interventional", 0.5, "no: interventional > method fails"),
        ("centre", 2.0, "no: interventional > centre fails"),
        ("random", 0.8, "no: a map like noise"),
        ("method", -1.0, "no: method > random fails"),
        ("random, blurred", 0.5, "with care: rewards blurring noise"),
        ("method, blurred", 0.95, "with care: rewards blurring the map"),
        ("motion", 1.0, "with care: interventional > motion not told"),
    ],
)
def test_each_fault_is_named(name, worth, want):
    faulty = SOUND.copy()
    faulty[COLUMN[name]] = worth
    assert judged(faulty)["trust"].startswith(want)


def test_noise_is_no_metric_and_few_clips_decide_nothing():
    assert "unrelated to the truth" in judged(0 * SOUND, noise=1.0)["trust"]
    assert judged(SOUND, num=19)["trust"] == "undecided: fewer than 20 clips"


def test_a_metric_that_says_nothing_is_not_trusted():
    alike = {"pearson": np.tile(SOUND, (24, 1))}
    row = _audit.judge(np.zeros((24, len(SOUND))), True, alike)
    assert row["trust"] == "no: a map like noise, unrelated to the truth"
    assert row["alpha"]["mean"] is row["alpha"]["low"] is row["krippendorff"] is None
    json.dumps(row, allow_nan=False)


def test_ties_count_half_and_clips_without_a_number_are_left_out():
    scores = np.tile(SOUND, (3, 1))
    method, random = COLUMN["method"], COLUMN["random"]
    scores[0, method], scores[1, method] = scores[0, random], scores[1, random] - 1
    scores[2, COLUMN["evidence"]] = np.nan
    row = _audit.judge(scores, True, {"pearson": np.tile(SOUND, (3, 1))})
    pair = row["above"]["method > random"]
    assert (pair["mean"], pair["n"]) == (pytest.approx(0.5), 3)
    assert row["scores"]["evidence"]["n"] == 2
    assert row["alpha"]["n"] == 2
    nothing = _audit.interval([np.nan])
    assert nothing == {"mean": None, "low": None, "high": None, "n": 0}


def test_the_interval_of_alpha_holds_alpha_and_is_not_lifted_by_clips_met_twice():
    rated = np.random.default_rng(4).normal(size=(12, len(SOUND)))
    alpha = _audit.agreement(rated)["alpha"]
    ranks = stats.rankdata(rated, axis=1)
    total, weight = 0.0, 0.0
    worse = (rated < rated[:, :1]).sum(1)
    weights = 1 - worse / (len(SOUND) - 1)
    for i in range(12):
        for j in range(i):
            pair = weights[i] * weights[j]
            total += pair * stats.spearmanr(ranks[i], ranks[j]).statistic
            weight += pair
    np.testing.assert_allclose(alpha["mean"], total / weight, rtol=1e-10)
    assert alpha["low"] < alpha["mean"] < alpha["high"]
    assert alpha["low"] < alpha["chance"]  # Noise does not agree.


@pytest.mark.slow
def test_the_whole_audit_in_small(tmp_path, capsys):
    out = tmp_path / "new" / "audit.json"
    names = ["auprc", "localisation_iou", "temporal_pointing", "insertion"]
    metric_audit.main(
        [
            *("--quick", "--clips", "2", "--steps", "2", "--method", "saliency"),
            *("--metrics", *names, "--out", str(out)),
        ]
    )
    record = json.loads(out.read_text())
    assert list(record["rows"]) == names
    text = json.dumps(record["settings"], sort_keys=True)
    assert record["settings_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    family = record["families"]["motion"]
    assert len(set(family["indices"])) == 2
    assert family["similarity"]["pearson"]["interventional"] == pytest.approx(1)
    auprc = record["rows"]["auprc"]
    assert auprc["scores"]["evidence"]["mean"] == 1
    assert auprc["chance"] == pytest.approx(family["evidence share"], abs=1e-5)
    assert auprc["scores"]["random"]["mean"] == pytest.approx(auprc["chance"], rel=0.2)
    assert np.shape(record["rows"]["insertion"]["per clip"]["motion"]) == (2, 9)
    assert record["rows"]["temporal_pointing"]["scores"]["evidence"]["mean"] == 1
    assert record["rows"]["localisation_iou"]["scores"]["evidence"]["mean"] > 0.9
    table = capsys.readouterr().out
    assert all(f"| {name} | higher, 0..1 | " in table for name in names)


def test_the_page_has_the_verdicts_of_the_records():
    root = pathlib.Path(metric_audit.__file__).parent
    files = [root / f"results/metric-audit{end}-cpu.json" for end in ("", "-families")]
    records = [json.loads(file.read_text()) for file in files]
    for record in records:
        digest = metric_audit.digest(record["settings"])
        assert digest == record["settings_sha256"]
    table = _audit_table.verdicts(("one moving object", "seven families"), records)
    assert table in (root.parent / "docs/metric-audit.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--network evidense", "'evidence'"),
        ("--method salency", "'saliency'"),
        ("--families motoin", "'motion'"),
        ("--split dev --families or", "only ever tested on"),
        ("--split dev --network evidence_lstm", "only ever tested on"),
    ],
)
def test_names_are_checked_before_anything_runs(arguments, message, capsys):
    with pytest.raises(SystemExit):
        metric_audit.main(arguments.split())
    assert message in capsys.readouterr().err
