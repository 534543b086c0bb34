"""Without its extras the package imports, and says which one is missing."""

import subprocess
import sys

import numpy as np
import pytest

from jaxattr.viz import contact_sheet, overlay, save_gif, save_mp4

FRAMES = np.zeros((2, 16, 18, 3), np.uint8)


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("matplotlib", lambda path: overlay(FRAMES, np.zeros((2, 16, 18)))),
        ("PIL", lambda path: contact_sheet(FRAMES, {})),
        ("PIL", lambda path: save_gif(path / "a.gif", FRAMES, 8)),
        ("av", lambda path: save_mp4(path / "a.mp4", FRAMES, 8)),
    ],
)
def test_missing_library_names_the_extra(tmp_path, monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"jaxattr\[(viz|video)\]"):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_imports_without_any():
    code = (
        "import sys\n"
        "for name in ('PIL', 'matplotlib', 'av'): sys.modules[name] = None\n"
        "import jaxattr.viz\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
