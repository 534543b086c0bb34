"""The strict floor that every test stands on, and the real clips where they exist."""

import contextlib
import os
import pathlib
import warnings

import jax
import jaxlib
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")

# A test compiles a program and runs it once, so that most of its time is compiling. At
# level 0 rendering clips takes twice as long. The long tail keeps the users' compiler.
QUICK_COMPILER = "--xla_backend_optimization_level=1"

ABSENT = "shared data is absent"
SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


def _define_torchvision_ops() -> object:
    """Lets torchvision import beside a CPU build of torch, whose ops it lacks."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import torchvision
    except Exception:
        with contextlib.suppress(Exception):
            _LIBRARY = _define_torchvision_ops()  # Kept alive for the session.
            import torchvision  # noqa: F401


def pytest_configure(config):
    """Compiles quickly, unless the long tail runs or XLA may not know the flag."""
    known = jaxlib.__version__.startswith("0.10.")  # An unknown flag ends the process.
    if known and config.option.markexpr == "not slow":
        with pytest.MonkeyPatch.context() as patch:  # Not for processes of the tests.
            flags = os.environ.get("XLA_FLAGS", "")
            patch.setenv("XLA_FLAGS", f"{flags} {QUICK_COMPILER}".strip())
            jax.devices()  # Reads the flags, once and for all.


@pytest.fixture(scope="session")
def shared_clips() -> pathlib.Path:
    """Folder of real clips with boxes; they are not part of the project."""
    folder = SHARED / "clips"
    if not folder.is_dir():
        pytest.skip(f"{ABSENT}: no real clips at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_weights() -> pathlib.Path:
    """Folder of small trained networks; they are not part of the project."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(f"{ABSENT}: no trained weights at {folder}")
    return folder


@pytest.fixture
def loose_promotion():
    """Relaxes dtype promotion around third-party networks."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


def pytest_runtest_teardown(item, nextitem):
    """Frees what was compiled for a file of tests.

    Every program holds memory maps, of which Linux gives a process 65530: without this
    a worker that runs half of the suite is aborted by the compiler.
    """
    if nextitem is None or nextitem.path != item.path:
        jax.clear_caches()


_unexplained: list[str] = []


def pytest_runtest_logreport(report):
    """Notes every skip that is not for want of shared data."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr)
        if ABSENT not in reason:
            _unexplained.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session, exitstatus):
    """In CI an oracle that did not run is a failure."""
    if os.environ.get("CI") and _unexplained and exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    """Says which skips failed the run."""
    if os.environ.get("CI"):
        for line in _unexplained:
            terminalreporter.write_line(f"skipped without leave: {line}", red=True)
