"""The commands `table` and `plot`, on a folder as `evaluate` leaves it."""

import csv

import pytest
import toy_records

from jaxattr.cli import main


@pytest.fixture
def folder(tmp_path):
    records = [r for r in toy_records.make(num_methods=3) if r["network"] == "conv"]
    toy_records.write(tmp_path, records)
    return tmp_path


def test_table_goes_to_the_terminal_or_a_file(folder, capsys):
    words = ["table", str(folder), "--metric", "hit", "--metric", "auprc"]
    assert main([*words, "--baseline", "a", "--by", "group"]) == 0
    shown = capsys.readouterr()
    assert "| method | hit ↑ | auprc ↑ |" in shown.out
    assert "## order" in shown.out
    assert "10 of 12 clips are done" in shown.err
    out = folder / "table.csv"
    assert main([*words, "--format", "csv", "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert {row["table"] for row in rows} >= {"score", "kendall", "reliability"}
    assert capsys.readouterr().out == ""


def test_plots_are_written(folder, capsys):
    out = folder / "plots"
    words = ["plot", str(folder), "--out", str(out), "--metric", "auprc"]
    assert main(words) == 0
    assert {path.name for path in out.iterdir()} == {
        "scores-auprc.png",
        "cost-auprc.png",
    }


def test_mistakes_are_one_sentence(folder, capsys):
    assert main(["table", str(folder), "--baseline", "aa"]) == 2
    assert "did you mean a" in capsys.readouterr().err
    assert main(["table", str(folder / "nowhere")]) == 2
    assert "settings.json" in capsys.readouterr().err
