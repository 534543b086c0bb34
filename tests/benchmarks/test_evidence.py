"""The benchmark on known evidence, run in small."""

import json
import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
import evidence


def test_controls_are_what_they_are_called():
    clip = np.random.default_rng(3).normal(size=(4, 7, 9, 3))
    motion = evidence._motion(clip, 0, key=None).values
    np.testing.assert_allclose(motion[3], np.abs(clip[3] - clip[2]).mean(-1))
    np.testing.assert_allclose(motion[0], motion[1])
    centre = evidence._centre(jnp.zeros((5, 7, 9, 3)), 0, key=None).values
    assert centre[2, 3, 4] == centre.max() == 1
    np.testing.assert_allclose(centre[2, 0, 4], np.exp(-4.5))  # Three sigma out.


def test_the_whole_benchmark_in_small(tmp_path, capsys):
    out = tmp_path / "new" / "evidence.json"
    names = ["integrated_gradients", "random"]
    evidence.main(
        [
            *("--split", "dev", "--clips", "5", "--chunk", "4", "--repeats", "2"),
            *("--rounds", "1", "--methods", *names, "--out", str(out)),
        ]
    )
    record = json.loads(out.read_text())
    assert list(record["rows"]) == names
    assert record["counted"] + len(record["misclassified"]) == record["clips"] == 5
    paths, chance = (record["rows"][name] for name in names)
    assert all(v == 0 for part in paths["difference"].values() for v in part.values())
    assert paths["gradients"] == 64
    assert paths["auprc"]["low"] > chance["auprc"]["high"]
    assert chance["auprc"]["mean"] == pytest.approx(record["evidence_share"], rel=0.1)
    assert chance["energy"]["mean"] == pytest.approx(record["evidence_share"], rel=0.1)
    gap = chance["energy"]["mean"] - paths["energy"]["mean"]
    assert chance["difference"]["energy"]["mean"] == pytest.approx(gap)
    table = capsys.readouterr().out
    assert all(f"| {name} | " in table for name in names)
    assert "▼" in table.splitlines()[-1]  # Chance stands below the reference.
