"""Real clips with boxes, explained for a trained network, through the whole command."""

import pytest
from toys import rows

from jaxattr.cli import _main, main

pytestmark = pytest.mark.slow

FILE = """
[[networks]]
name = "lrcn"
weights = "{weights}/ucf50_4cls_lrcn.safetensors"
[[data]]
kind = "folder"
label = "frames"
folder = "{clips}/frames"
boxes = "{clips}/boxes.json"
target = "predicted"
[[data]]
kind = "folder"
label = "gifs"
folder = "{clips}/gifs"
boxes = "{clips}/boxes.json"
box = [6, 6, 294, 294]
labels = "labels.csv"
[[methods]]
name = "saliency"
[[methods]]
name = "grad_cam"
[[methods]]
name = "centre"
[[metrics]]
name = "pointing_game"
[[metrics]]
name = "energy_in_box"
[[metrics]]
name = "insertion"
num_steps = 8
"""


def test_lrcn(shared_clips, shared_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_main, "_keep_compilations", lambda: None)
    path = tmp_path / "settings.toml"
    path.write_text(FILE.format(clips=shared_clips, weights=shared_weights))
    labelled = "ucf101_WalkingWithDog_g06_c05_16f.gif,WalkingWithDog\n"
    (tmp_path / "labels.csv").write_text(labelled)
    assert main(["evaluate", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "undecodable" in capsys.readouterr().err
    found = rows(tmp_path / "out")
    status = {(r["clip"].partition(".")[0], r["metric"]): r["status"] for r in found}
    walking = "ucf101_WalkingWithDog_g06_c05_16f"
    assert status[walking, "pointing_game"] == "ok"
    assert status["epic55_food-stir-P03_05_6751", "energy_in_box"] == "ok"
    assert status["k400_abseiling_4lFmhj4x43c", "insertion"] == "ok"
    assert status["k400_abseiling_4lFmhj4x43c", "pointing_game"] == "no annotation"
    unlabelled = "ucf101_LongJump_g01_c06_16f"
    assert status[unlabelled, "insertion"] == "no annotation"
    inside = {r["method"]: r["value"] for r in found if r["clip"].startswith(walking)}
    assert inside["saliency"] > 0
