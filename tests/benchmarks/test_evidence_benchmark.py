"""The benchmark on known evidence, run in small."""

import json
import pathlib
import sys
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
import _evidence_masking
import _evidence_scores
import evidence
from _evidence_cells import (
    choose_families,
    choose_networks,
    claimed,
    load,
    make_cell,
)
from _evidence_lines import choose_lines

import jaxattr
from jaxattr import _registry
from jaxattr.data import evidence as clips


class Map(NamedTuple):
    values: jax.Array


def fake(name, transform, **more):
    """A method as somebody else would register it."""
    more = {"gradients": lambda s: 7, "heatmap": lambda shape: {}, **more}
    return _registry.Method(name, transform, "gradient", False, **more)


@pytest.fixture
def registered(monkeypatch):
    """Adds methods to the table, and does nothing else."""

    def register(*methods):
        table = {**_registry.METHODS, **{method.name: method for method in methods}}
        monkeypatch.setattr(_registry, "METHODS", MappingProxyType(table))

    return register


def test_quick_gives_the_table(tmp_path, capsys):
    out = tmp_path / "new" / "evidence.json"
    evidence.main(["--quick", "--out", str(out)])
    record = json.loads(out.read_text())
    (cell,) = record["cells"]
    names = evidence.QUICK["methods"]
    assert sorted(cell["rows"]) == sorted(names)
    assert cell["family"] == "motion"
    assert len(cell["samples"]) == 4
    assert cell["rejected"] == pytest.approx(1 - 4 / cell["looked"], abs=0.5)
    table = record["table"]
    paths, chance, centre = (
        table[name] for name in ("integrated_gradients", "random", "centre")
    )
    share = cell["evidence_share"]
    assert chance["auprc"]["mean"] == pytest.approx(share, rel=0.1)
    assert chance["energy"]["mean"] == pytest.approx(share, rel=0.1)
    assert chance["oracle"]["iou"]["mean"] == pytest.approx(share / 2, rel=0.3)
    assert paths["auprc"]["low"] > chance["auprc"]["high"]
    assert paths["insertion"]["mean"] > chance["insertion"]["mean"]
    assert all(v == 0 for part in paths["difference"].values() for v in part.values())
    assert chance["difference"]["auprc"]["high"] < 0
    # A control never asks the network, and one without a key always says the same.
    assert chance["sanity"]["mean"] == pytest.approx(1, abs=1e-5)
    assert centre["sanity"]["mean"] == pytest.approx(1, abs=1e-5)
    assert centre["stability"]["mean"] == pytest.approx(1, abs=1e-5)
    assert abs(chance["stability"]["mean"]) < 0.05
    assert paths["sanity"]["mean"] < 0.9
    rows = cell["rows"]
    assert rows["saliency"]["oracle"]["told"] == "threshold"
    printed = capsys.readouterr().out
    assert all(f"| {name}, oracle area | " in printed for name in names)
    assert not any("refused" in row for row in rows.values())


@pytest.mark.slow
def test_methods_on_segments_get_them_from_the_clip(tmp_path):
    out = tmp_path / "evidence.json"
    wanted = ["--methods", "swag", "--clips", "2", "--rounds", "1"]
    evidence.main(["--quick", "--out", str(out), *wanted])
    record = json.loads(out.read_text())
    row = record["cells"][0]["rows"]["swag"]
    assert row["not_finite"] == 0
    assert all(0 < v <= 1 for v in row["scores"]["auprc"])
    assert all(abs(v) < 0.99 for v in row["sanity"])
    assert record["seconds"]["lines"]["swag"] > 0


@pytest.mark.slow
def test_a_registered_method_enters_and_sees_no_evidence(registered, tmp_path, capsys):
    """Nothing but the table of methods changes; it gets what a user's call gets."""
    seen = []

    def brightest(f, **settings):
        seen.append(settings)

        def explain(clip, target, **named):
            seen.append((clip.shape, np.shape(target), sorted(named)))
            return Map(clip[..., 0] + 0 * f(clip)[target])

        return jax.tree_util.Partial(explain)

    def refuses(f):
        raise ValueError("`f` is of no kind that I know.")

    registered(
        fake("brightest", brightest, settings=MappingProxyType({"level": 3})),
        fake("refuses", refuses),
        fake("wants", brightest, needs=("segments",)),
    )
    out = tmp_path / "evidence.json"
    wanted = ["--methods", "brightest", "refuses", "wants", "centre", "--clips", "3"]
    quick = ["--quick", "--rounds", "1", "--out", str(out), *wanted]
    evidence.main(quick)
    record = json.loads(out.read_text())
    assert list(record["seconds"]["lines"]) == ["brightest"]
    rows = record["cells"][0]["rows"]
    assert len(rows["brightest"]["scores"]["auprc"]) == 3
    assert rows["refuses"]["refused"] == "`f` is of no kind that I know."
    assert "segments" in rows["wants"]["refused"]
    assert all(one == {"level": 3} for one in seen if isinstance(one, dict))
    calls = {repr(one) for one in seen if not isinstance(one, dict)}
    assert calls == {"((16, 56, 56, 3), (), ['key'])"}
    printed = capsys.readouterr().out
    assert "`refuses` has no scores in 1 cells" in printed

    # A second run takes what is there, and another setting is another row.
    before, hashes = len(seen), {name: row["hash"] for name, row in rows.items()}
    evidence.main([*quick, "--rounds", "0"])
    elsewhere = ["--out", str(tmp_path / "joined.json"), "--reuse", str(out)]
    evidence.main([*quick, "--rounds", "0", *elsewhere])
    assert len(seen) == before
    registered(fake("brightest", brightest, settings=MappingProxyType({"level": 4})))
    evidence.main(
        ["--quick", "--rounds", "0", "--out", str(out), *wanted[:2], *wanted[5:]]
    )
    again = json.loads(out.read_text())["cells"][0]["rows"]["brightest"]
    assert again["hash"] != hashes["brightest"]
    assert len(seen) > before


@pytest.mark.slow
def test_the_oracle_tells_mask_methods_the_true_share(registered):
    areas = []

    def mask(f, *, areas):
        areas_asked.append(areas)
        return jax.tree_util.Partial(lambda clip, target, key: Map(clip[..., 1]))

    areas_asked = areas
    given = MappingProxyType({"areas": (0.3,)})
    registered(fake("mask", mask, settings=given))
    network = load("evidence", "evidence")
    cell = make_cell(network, "motion", "dev", 2)
    (line,) = evidence.choose_lines(["mask"])
    row = _evidence_scores.score_line(line, cell, 1, 2)
    assert areas[0] == (0.3,)
    shares = np.asarray(cell.clips.mask).mean((1, 2, 3))
    told = [asked for asked in areas if asked != (0.3,)]
    np.testing.assert_allclose(np.ravel(told), shares, rtol=1e-6)
    heat, masks = np.asarray(cell.clips.clip[..., 1]), np.asarray(cell.clips.mask)
    heat = np.abs(heat).astype(np.float64)
    expected = []
    for values, truth in zip(heat, masks):
        hot = np.zeros(truth.size, bool)
        hot[np.argsort(-values.ravel(), kind="stable")[: truth.sum()]] = True
        hot = hot.reshape(truth.shape)
        expected.append((hot & truth).sum() / (hot | truth).sum())
    np.testing.assert_allclose(row["oracle"]["iou"], expected, atol=1e-3)  # Ties.


def test_cells_hold_certified_clips_of_the_split():
    network = load("evidence", "evidence")
    cell = make_cell(network, "motion", "dev", 3)
    judge = clips.certify(network.f, "motion")
    key = clips.split_key("dev")
    for i, index in enumerate(cell.indices):
        sample = jax.random.fold_in(key, int(index))
        assert judge(sample).certified
        alone = clips.render(sample, "motion")
        np.testing.assert_array_equal(cell.clips.mask[i], alone.mask)
        np.testing.assert_allclose(cell.clips.clip[i], alone.clip, atol=1e-5)
    assert cell.looked % 3 == 0
    assert make_cell(network, "context", "dev", 3) is None  # It has 8 classes.


def test_networks_are_asked_for_families_on_which_they_are_right():
    path = pathlib.Path(evidence.__file__).parent / "results/evidence-networks.json"
    measured = json.loads(path.read_text())["networks"]
    for network, found in measured.items():
        for family in clips.FAMILIES:
            right = [
                weights["as rendered"][family]["right"]
                for weights in found["weights"].values()
            ]
            asked = claimed(f"{network}/families-0", family)
            assert asked == (min(right) >= 0.95), (network, family)


def test_what_is_only_ever_tested_on_is_refused_on_dev():
    assert "or" in choose_families(None, "test")
    assert "or" not in choose_families(None, "dev")
    with pytest.raises(ValueError, match="`families` 'or' is only ever tested on"):
        choose_families(["motion", "or"], "dev")
    lstm = ["evidence_lstm/none"]
    assert choose_networks(lstm, "test") == [("evidence_lstm", "none")]
    with pytest.raises(ValueError, match="`networks` 'evidence_lstm/none' is only"):
        choose_networks(lstm, "dev")


@pytest.mark.parametrize(
    ("option", "value", "near"),
    [
        ("--families", "motoin", "'motion'"),
        ("--networks", "evidense_3d", "'evidence_3d'"),
        ("--methods", "salency", "'saliency'"),
    ],
)
def test_unknown_names_show_the_nearest(option, value, near, capsys):
    with pytest.raises(SystemExit):
        evidence.main(["--networks", "evidence", option, value])
    shown = capsys.readouterr().err
    assert near in shown.lower().partition("did you mean")[2]


def test_a_variant_is_a_line_with_another_setting():
    (saliency, step) = choose_lines(["saliency"], ["step areas=(0.01,0.02)"])
    assert saliency.name == "saliency"
    assert step.name == "step areas=(0.01,0.02)"
    (default,) = choose_lines(["step"])
    assert step.settings == {**default.settings, "areas": (0.01, 0.02)}
    assert default.settings["areas"] != step.settings["areas"]
    assert step.gradients < default.gradients  # Of two areas, not three.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stp areas=(0.1,)", "'step'"),
        ("step area=(0.1,)", "areas"),
        ("step areas=(0.1", "no value"),
        ("centre areas=(0.1,)", "none"),
    ],
)
def test_a_variant_that_does_not_exist(text, said, capsys):
    with pytest.raises(SystemExit):
        evidence.main(["--networks", "evidence", "--variants", text])
    shown = capsys.readouterr().err
    assert "--variants" in shown or "`variants`" in shown
    assert said in shown


def test_no_weights_and_no_clips_are_said(capsys):
    with pytest.raises(SystemExit, match="nothing to find"):
        evidence.main(
            ["--networks", "evidence/none", "--families", "motion", "--clips", "1"]
        )
    with pytest.raises(SystemExit):
        evidence.main(["--clips", "0", "--networks", "evidence"])
    assert "--clips" in capsys.readouterr().err


def test_scores_of_a_perfect_map_and_of_one_that_is_not_finite():
    network = load("evidence", "evidence")
    cell = make_cell(network, "motion", "dev", 2)
    masks = np.asarray(cell.clips.mask)
    heat = masks.astype(np.float32)
    finite = np.array([True, False])
    heats = _evidence_scores.Heats(heat, heat, finite)
    scores = _evidence_scores._measure_all(heats, cell)
    for name in ("auprc", "hit", "peak", "iou", "energy"):
        np.testing.assert_allclose(scores[name], [1, 0], rtol=1e-6, err_msg=name)
    oracle = _evidence_scores._thresholded(heats, cell)
    np.testing.assert_allclose(oracle["iou"], [1, 0])
    assert _evidence_scores._noisy(jnp.zeros((1, 2, 3, 4, 3))).max() <= 0.0157


@pytest.mark.slow
def test_the_masking_model_is_taught_once_for_a_network(tmp_path, monkeypatch):
    runs, train = [], jaxattr.train_masking_model

    def counted(f, *args, **settings):
        runs.append(f)
        return train(f, *args, **settings)

    monkeypatch.setattr(jaxattr, "train_masking_model", counted)
    recipe = {"num_steps": 1, "selector_steps": 1, "channels": 2}
    monkeypatch.setattr(_evidence_masking, "RECIPE", recipe)
    monkeypatch.setattr(_evidence_masking, "CLIPS", 16)
    out = tmp_path / "evidence.json"
    some = ["--methods", "masking_model", "--clips", "2", "--rounds", "1"]
    evidence.main(["--quick", "--out", str(out), *some])
    record = json.loads(out.read_text())
    row = record["cells"][0]["rows"]["masking_model"]
    assert len(row["scores"]["auprc"]) == 2
    assert row["sanity"] == [1.0, 1.0]  # It looks at no logits.
    assert len(runs) == 1
