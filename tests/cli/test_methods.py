"""Methods named on the command line."""

import pytest

from jaxattr._registry import METHODS
from jaxattr.cli._main import CommandError
from jaxattr.cli._methods import pick

NAMES = [name for name, method in METHODS.items() if not method.needs]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_that_needs_nothing_more_can_be_named(name):
    chosen = pick(name, common={})
    assert chosen == {name: dict(METHODS[name].settings)}


def test_settings_of_layer_methods():
    chosen = pick("grad_cam,lrp", common={}, special=["grad_cam.layer=stem"])
    assert chosen == {"grad_cam": {"layer": "stem"}, "lrp": {}}
    with pytest.raises((CommandError, ValueError), match="pool"):
        pick("grad_cam", common={}, special=["pool=time"])
