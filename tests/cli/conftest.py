"""What all tests of the command line share."""

import pytest

from jaxattr.cli import _main, _pool

CHUNK = 8  # Clips rendered at a time: no more than there are to be.


@pytest.fixture(scope="session", autouse=True)
def _no_cache():
    """Leaves this process's JAX settings, and the user's compiled programs, alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_main, "_keep_compilations", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def chunk():
    """Renders few clips at a time; how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pool, "CHUNK", CHUNK)
        yield CHUNK
