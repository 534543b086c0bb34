"""Notebooks run from top to bottom, and what they show is what they print today."""

import json
import pathlib
import re
import sys

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")
# An absolute path or a home folder, but no part of an address or of a relative path.
LOCAL_PATH = re.compile(r"(?<![\w:/.~<])/[\w.-]+/[\w.-]+|~/|\b[A-Z]:\\|site-packages")


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(notebook):
    """What every cell shows: its text with numbers masked, and the kinds of pictures.

    Numbers differ from machine to machine in their last digit.
    """
    return [
        (
            NUMBER.sub("#", "".join(o.get("text", "") for o in cell.outputs)),
            # Pictures are stored as PNG alone; Pillow may offer other forms as well.
            ["image/png" in o.data for o in cell.outputs if "data" in o],
        )
        for cell in code_cells(notebook)
    ]


def test_there_is_a_quickstart():
    assert "quickstart" in [path.stem for path in NOTEBOOKS]


@every_notebook
def test_it_is_short_and_its_outputs_are_stored_and_small(path):
    notebook = read(path)
    nbformat.validate(notebook)
    lines = [line for c in code_cells(notebook) for line in c.source.splitlines()]
    assert len([line for line in lines if line.strip()]) < 150
    assert path.stat().st_size < 300_000
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert {output.output_type for output in outputs} >= {"stream", "execute_result"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


@every_notebook
def test_it_holds_nothing_of_the_machine_it_ran_on(path):
    notebook = read(path)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert not any(cell.metadata for cell in notebook.cells)
    assert str(ROOT) not in path.read_text(encoding="utf-8")
    for cell in code_cells(notebook):
        for text in [cell.source, *(o.get("text", "") for o in cell.outputs)]:
            assert not LOCAL_PATH.search(text)


@every_notebook
@pytest.mark.slow
def test_it_runs_and_shows_what_is_stored(path, tmp_path, monkeypatch):
    _offer_this_python(tmp_path, monkeypatch)
    notebook = read(path)
    stored = shown(notebook)
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    assert shown(notebook) == stored


def _offer_this_python(folder, monkeypatch):
    """Makes "python3" the interpreter of this test, whatever is registered here."""
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
    }
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(folder))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
