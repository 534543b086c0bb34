"""The wheel, built and installed elsewhere, works from outside the tree."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

SCRIPT = """
import pathlib, sys
import jaxattr, jaxattr_models
from jaxattr.data import evidence
import jax
for module in (jaxattr, jaxattr_models):
    assert pathlib.Path(module.__file__).is_relative_to(sys.argv[1]), module.__file__
net = jaxattr_models.evidence()
one = evidence.render(jax.random.key(0))
values = jaxattr.saliency(net)(one.clip, one.target).values
jaxattr.viz.save_report("out", one.clip, {"saliency": values}, spec=net.spec)
print("works", values.shape)
"""


@pytest.mark.slow
def test_an_installed_wheel_works_elsewhere(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "jaxattr_models/evidence.safetensors" in names
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "models/"))]
    site = tmp_path / "site"
    install = [*pip, "install", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, timeout=600)
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "works (16, 56, 56, 3)" in done.stdout, done.stderr


def test_a_name_like_no_other_is_told_what_there_is():
    from jaxattr._checking import nearest

    known = [f"method_{i}" for i in range(14)]
    assert nearest("methd_3", known).startswith("; did you mean method_3 or ")
    assert nearest("nope", known[:2]) == "; there are method_0, method_1."
    assert nearest("nope", known).endswith("method_11 and 2 more.")
