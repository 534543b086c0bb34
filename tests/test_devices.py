"""Clips spread over eight simulated devices have the explanations they have alone."""

import os
import pathlib
import subprocess
import sys

import pytest
from test_contract import MECHANISMS

from jaxattr._registry import METHODS

# What is trained first has its data on one device.
PERTURBATION = (
    *(n for n in METHODS if METHODS[n].family == "perturbation"),
    "activation_maximisation",
)
GROUPS = {
    "perturbation": [n for n in PERTURBATION if n != "masking_model"],
    "mechanisms": [n for n in MECHANISMS if n not in PERTURBATION],
}


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_eight_devices_say_what_one_says(group):
    script = pathlib.Path(__file__).with_name("devices.py")
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, script, *GROUPS[group]],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == GROUPS[group]
