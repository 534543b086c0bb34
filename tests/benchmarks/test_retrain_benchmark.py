"""The retraining benchmark runs end to end, in its smallest form."""

import json
import pathlib
import runpy
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_every_map_has_accuracies(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    out = tmp_path / "retrain.json"
    monkeypatch.setattr(sys, "argv", ["retrain.py", "--quick", "--out", str(out)])
    runpy.run_path(str(FOLDER / "retrain.py"), run_name="__main__")
    record = json.loads(out.read_text("utf-8"))
    assert list(record["rows"]) == [
        "evidence",
        "integrated_gradients",
        "random",
        "centre",
    ]
    for row in record["rows"].values():
        for label in ("kept", "removed"):
            assert len(row[label]["accuracy"]) == 1
            assert 0 <= row[label]["low"][0] <= row[label]["high"][0] <= 1
    assert "| evidence |" in capsys.readouterr().out
