"""What all tests of the command line share."""

import pytest

from jaxattr.cli import _main


@pytest.fixture(scope="session", autouse=True)
def _no_cache():
    """Leaves this process's JAX settings, and the user's compiled programs, alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_main, "_keep_compilations", lambda: None)
        yield
