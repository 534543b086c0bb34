"""The command `evaluate` on small files, in this process."""

import pathlib
import re

import pyarrow.parquet as pq
import pytest

from jaxattr.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = """
clips = 3
[[networks]]
name = "evidence"
weights = "evidence"
[[data]]
kind = "evidence"
family = "motion"
certified = false
[[methods]]
name = "saliency"
[[metrics]]
name = "auprc"
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return path


def test_a_run_and_the_same_again(settings, tmp_path, capsys):
    words = ["evaluate", str(settings), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "3 clips done; " in told
    assert "waiting for clips" in told
    table = pq.read_table(tmp_path / "out" / "records.parquet")
    assert table.num_rows == 3
    assert set(table["group"].to_pylist()) == {"motion"}
    assert main(words) == 0
    assert "0 clips done, 3 were already" in capsys.readouterr().err
    settings.write_text(FILE.replace("clips = 3", "clips = 4"))
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "settings.clips: 3 there, 4 now" in told
    assert "Traceback" not in told


def test_a_run_without_a_clip_is_no_success(settings, tmp_path, capsys):
    family = FILE.replace('"motion"', '"context"').replace("certified = false", "")
    settings.write_text(family)  # The network has no logit for it.
    assert main(["evaluate", str(settings), "--out", str(tmp_path / "out")]) == 1
    assert "0 clips done, data sets refused: 1" in capsys.readouterr().err


def test_what_is_wrong_is_said(settings, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["evaluate", str(settings), "--out", str(out)]
    for process in ("2/2", "1", "-1/2", "a/b"):
        assert main([*words, f"--process={process}"]) == 2
        assert "`--process` must be i/n" in capsys.readouterr().err
    assert main([*words, "--coordinator", "localhost:1"]) == 2
    assert "needs `--process`" in capsys.readouterr().err
    settings.write_text(FILE.replace("saliency", "salience") + "stepps = 3")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "did you mean saliency" in told
    assert "metrics[0]: no key `stepps`" in told
    assert not out.exists()


def example():
    page = (ROOT / "docs" / "evaluate.md").read_text()
    return re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1]


@pytest.mark.slow
def test_the_example_of_the_docs(tmp_path, capsys):
    path = tmp_path / "settings.toml"
    path.write_text(example())
    assert main(["evaluate", str(path), "--out", str(tmp_path / "out")]) == 0
    table = pq.read_table(tmp_path / "out" / "records.parquet").to_pylist()
    assert {row["status"] for row in table} == {"ok"}
    mean = {}
    for row in table:
        if row["metric"] == "auprc":
            mean.setdefault(row["method"], []).append(row["value"])
    mean = {name: sum(values) / len(values) for name, values in mean.items()}
    assert mean["integrated_gradients"] > 2 * mean["random"]
