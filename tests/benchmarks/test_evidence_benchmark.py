"""The benchmark on known evidence, run in small."""

import json
import pathlib
import sys
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
import _evidence_masking
import evidence
from _evidence_cells import (
    choose_families,
    choose_networks,
    claimed,
    load,
    make_cell,
)

import jaxattr
from jaxattr import _registry
from jaxattr.data import evidence as clips
from jaxattr.evaluation import _methods


class Map(NamedTuple):
    values: jax.Array


def fake(name, transform, **more):
    """A method as somebody else would register it."""
    more = {"gradients": lambda s: 7.0, "heatmap": lambda shape: {}, **more}
    return _registry.Method(name, transform, "gradient", False, "gradients", **more)


@pytest.fixture
def registered(monkeypatch):
    """Adds methods to the table, and does nothing else."""

    def register(*methods):
        named = {method.name: method for method in methods}
        table = MappingProxyType({**_methods.RUNNABLE, **named})
        known = _methods.RUNNABLE
        for module in tuple(sys.modules.values()):
            if getattr(module, "RUNNABLE", None) is known:
                monkeypatch.setattr(module, "RUNNABLE", table)

    return register


def records(out, method, kind="maps"):
    """Those of a folder, by metric: one value for every clip."""
    rows = pq.read_table(out / method / kind / "records.parquet").to_pylist()
    found = {}
    for row in rows:
        found.setdefault(row["metric"], []).append(row["value"])
    return {metric: np.array(values) for metric, values in found.items()}


@pytest.mark.slow  # Its parts are fast: tests/evaluation, and what the report says.
def test_quick_gives_the_table(tmp_path, capsys):
    out = tmp_path / "new" / "evidence"
    evidence.main(["--quick", "--out", str(out)])
    network = out / "evidence-evidence"
    names = evidence.QUICK["methods"]
    assert sorted(path.name for path in network.iterdir()) == sorted(names)
    found = {name: records(network, name) for name in names}
    paths, chance = found["integrated_gradients"], found["random"]
    assert len(paths["auprc"]) == 4
    assert (paths["auprc"] > 2 * chance["auprc"]).all()
    assert paths["insertion"].mean() > chance["insertion"].mean()
    assert paths["deletion"].mean() < chance["deletion"].mean()
    # Half of what is marked at random, of the share s, is outside: s / (2 - s).
    share = chance["energy"].mean()
    assert chance["oracle IoU"].mean() == pytest.approx(share / (2 - share), rel=0.3)
    # A control never asks the network.
    for name in ("random", "centre"):
        sanity = records(network, name, "checks")["sanity_check"]
        np.testing.assert_allclose(sanity, 1, atol=1e-5)
    checks = records(network, "integrated_gradients", "checks")
    assert checks["sanity_check"].max() < 0.9
    assert list(checks) == ["sanity_check"]  # It does not draw.
    stability = records(network, "random", "checks")["stability"]
    assert abs(stability).max() < 0.05
    table = (out / "table.md").read_text()
    assert table == capsys.readouterr().out.removesuffix("\n")
    assert all(f"\n| {name} | " in table for name in names)
    assert "▼" in table
    about = json.loads((out / "about.json").read_text())
    assert len(about["hashes"]) == 2 * len(names)
    assert about["split"] == "test"


@pytest.mark.slow
def test_methods_on_segments_get_them_from_the_clip(tmp_path):
    wanted = ["--methods", "swag", "--clips", "2", "--out", str(tmp_path)]
    evidence.main(["--quick", *wanted])
    network = tmp_path / "evidence-evidence"
    assert (records(network, "swag")["auprc"] > 0).all()
    assert abs(records(network, "swag", "checks")["sanity_check"]).max() < 0.99


@pytest.mark.slow
def test_a_registered_method_enters_and_sees_no_evidence(registered, tmp_path):
    """Nothing but the table of methods changes; it gets what a user's call gets."""
    seen = []

    def brightest(f, *, level):
        seen.append({"level": level})

        def explain(clip, target, **named):
            seen.append((clip.shape, np.shape(target), sorted(named)))
            return Map(clip[..., 0] + 0 * f(clip)[target])

        return jax.tree_util.Partial(explain)

    def refuses(f):
        if not isinstance(f, jaxattr._checking.NoNetwork):
            raise ValueError("`f` is of no kind that I know.")

    registered(
        fake("brightest", brightest, settings=MappingProxyType({"level": 3})),
        fake("refuses", refuses),
    )
    quick = ["--quick", "--clips", "3", "--out", str(tmp_path)]
    wanted = ["--methods", "brightest", "refuses", "centre"]
    evidence.main([*quick, *wanted])
    network = tmp_path / "evidence-evidence"
    assert len(records(network, "brightest")["auprc"]) == 3
    table = (tmp_path / "table.md").read_text()
    assert "`f` is of no kind that I know." in table
    assert all(one == {"level": 3} for one in seen if isinstance(one, dict))
    calls = {repr(one) for one in seen if not isinstance(one, dict)}
    assert calls == {"((16, 56, 56, 3), (), ['key'])"}

    # A second run takes what is there; another setting is another folder's.
    explained = [one for one in seen if not isinstance(one, dict)]
    evidence.main([*quick, *wanted])
    assert [one for one in seen if not isinstance(one, dict)] == explained
    assert (tmp_path / "table.md").read_text() == table
    evidence.main([*quick, "--methods", "centre", "--variants", "brightest level=4"])
    assert {"level": 4} in seen
    assert len(records(network, "brightest level=4")["auprc"]) == 3


def test_costly_methods_explain_few_clips(tmp_path):
    args = evidence._parse(
        f"--out {tmp_path} --networks evidence --clips 7 --few 3 "
        "--methods saliency rise expected_gradients".split()
    )
    parts = list(evidence._parts("evidence", "evidence", ["motion", "or"], args))
    shares = {
        (part.folder.parent.name, part.folder.name): [
            one["clips"] for one in part.settings["data"]
        ]
        for part in parts
    }
    assert shares["saliency", "maps"] == [7, 7]
    assert shares["rise", "maps"] == [3, 3]
    assert shares["saliency", "checks"] == shares["rise", "checks"] == [1, 1]
    (drawn,) = [p for p in parts if p.folder.parts[-2:] == ("rise", "checks")]
    assert [m["name"] for m in drawn.settings["metrics"]] == [
        "sanity_check",
        "stability",
    ]
    (given,) = [
        p for p in parts if p.folder.parts[-2:] == ("expected_gradients", "maps")
    ]
    assert given.settings["methods"][0]["baselines"] == {"kind": "train", "clips": 16}


@pytest.mark.slow
def test_the_reference_is_of_all_families():
    reference = evidence._train("evidence_3d")
    assert {sample.group for sample in reference} == set(clips.FAMILIES)
    assert all("train" in name for name in reference.names)


@pytest.mark.slow
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
        evidence.main(["--networks", "evidence", "--out", "x", option, value])
    shown = capsys.readouterr().err
    assert near in shown.lower().partition("did you mean")[2]


def test_a_variant_is_a_method_with_another_setting():
    saliency, step = evidence.choose_methods(["saliency"], ["step areas=(0.01,0.02)"])
    assert saliency == {"name": "saliency"}
    assert step == {
        "name": "step",
        "label": "step areas=(0.01,0.02)",
        "areas": (0.01, 0.02),
    }
    assert evidence._gradients(step) < evidence._gradients({"name": "step"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stp areas=(0.1,)", "'step'"),
        ("step areas=(0.1", "areas=(0.1"),
        ("step areaz=(0.1,)", "did you mean areas"),
        ("rise num_masks='x'", "num_masks"),
        ("step areas='evidence'", "no method is told"),
    ],
)
def test_a_variant_that_does_not_exist(text, said, capsys, tmp_path):
    few = ["--networks", "evidence", "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        evidence.main([*few, "--variants", text])
    shown = capsys.readouterr().err
    assert said in shown


def test_networks_once_and_with_weights_that_exist():
    twice = choose_networks(["evidence_3d/none", "evidence_3d/none"], "test")
    assert twice == [("evidence_3d", "none")]
    assert choose_networks(["evidence", "evidence/evidence"], "test") == [
        ("evidence", "evidence")
    ]
    with pytest.raises(ValueError, match="did you mean families-0"):
        choose_networks(["evidence_3d/familes-0"], "test")


def test_no_weights_and_no_clips_are_said(capsys, tmp_path):
    few = ["--out", str(tmp_path), "--clips"]
    with pytest.raises(SystemExit, match="nothing to tell"):
        evidence.main(
            ["--networks", "evidence/none", "--families", "motion", *few, "1"]
        )
    with pytest.raises(SystemExit):
        evidence.main(["--networks", "evidence", *few, "0"])
    assert "--clips" in capsys.readouterr().err


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
    some = ["--methods", "masking_model", "--clips", "2", "--out", str(tmp_path)]
    evidence.main(["--quick", *some])
    network = tmp_path / "evidence-evidence"
    assert len(records(network, "masking_model")["auprc"]) == 2
    # It looks at no logits.
    sanity = records(network, "masking_model", "checks")["sanity_check"]
    np.testing.assert_allclose(sanity, 1, rtol=1e-5)
    assert len(runs) == 1
