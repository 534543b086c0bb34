"""Real processes: killed, several at once, met by `jax.distributed`; and memory."""

import os
import random
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from toys import SETTINGS, Toys, rows, run

from jaxattr.data import Sample

pytestmark = pytest.mark.slow

FILE = """
clips = 12
[[networks]]
name = "evidence"
weights = "evidence"
[[data]]
kind = "evidence"
family = "motion"
certified = false
[[methods]]
name = "smooth_grad"
num_samples = 64
[[methods]]
name = "integrated_gradients"
[[metrics]]
name = "auprc"
[[metrics]]
name = "insertion"
num_steps = 8
block = 8
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the settings, and programs that need be compiled only once."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "settings.toml").write_text(FILE)
    return folder


def start(home, out, *options):
    # A shell's background job, as these tests may be, ignores Ctrl-C.
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from _jaxattr_command import main
sys.exit(main())
"""
    return subprocess.Popen(
        [
            *(sys.executable, "-c", code, "evaluate", str(home / "settings.toml")),
            *("--out", str(out), *options),
        ],
        env={**os.environ, "JAXATTR_HOME": str(home), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    """Waits for processes; returns what they said."""
    told = [process.communicate(timeout=600)[0] for process in processes]
    for process, text in zip(processes, told):
        assert process.returncode == 0, text
    return told


@pytest.fixture(scope="module")
def undisturbed(home, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    (told,) = finish(start(home, out))
    assert "12 clips done" in told
    assert "waiting for clips" in told
    found = rows(out)
    assert len(found) == 12 * 2 * 2
    assert {row["status"] for row in found} == {"ok"}
    return found


def test_twenty_kills_change_no_row(home, undisturbed, tmp_path):
    draw, kills, sizes = random.Random(0), 0, set()
    records = tmp_path / "records-0of1.jsonl"
    for _ in range(20):
        before = records.stat().st_size if records.exists() else -1
        process = start(home, tmp_path)
        at_work = draw.random() < 0.75  # Or still starting.
        while at_work and process.poll() is None:
            if records.exists() and records.stat().st_size > max(before, 0):
                break
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.6))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if records.exists():
            sizes.add(records.stat().st_size)
    (told,) = finish(start(home, tmp_path))
    assert kills >= 10, told
    assert len(sizes) > 4, sizes
    assert rows(tmp_path) == undisturbed


def test_ctrl_c_ends_between_clips(home, undisturbed, tmp_path):
    process, records = start(home, tmp_path), tmp_path / "records-0of1.jsonl"
    while not (records.exists() and records.stat().st_size):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 130, told
    assert "Traceback" not in told
    lines = records.read_bytes()
    assert lines.endswith(b"\n")
    done = lines.count(b"\n") // 4
    assert lines.count(b"\n") == 4 * done
    (told,) = finish(start(home, tmp_path))
    assert f"{12 - done} clips done, {done} were already" in told
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_share_a_folder(home, undisturbed, tmp_path, count):
    shares = [f"{index}/{count}" for index in range(count)]
    told = finish(*(start(home, tmp_path, "--process", share) for share in shares))
    assert all(f"{12 // count} clips done" in text for text in told)
    assert any("wrote" in text for text in told)
    assert len(list(tmp_path.glob("records-*.jsonl"))) == count
    assert rows(tmp_path) == undisturbed


def test_processes_of_jax_distributed(home, undisturbed, tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    told = finish(
        *(
            start(home, tmp_path, "--process", f"{i}/2", "--coordinator", address)
            for i in range(2)
        )
    )
    assert all("6 clips done" in text for text in told)
    assert rows(tmp_path) == undisturbed


class _Many(Toys):
    """Clips of 0.8 MB each."""

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        clip = rng.normal(size=(16, 64, 64, 3)).astype(np.float32)
        mask = rng.random((16, 64, 64)) < 0.1
        return Sample(self.names[index], clip, index % 5, mask=mask)


def test_memory_does_not_grow_with_clips(tmp_path):
    megabytes, arrays, before = [], [], None

    def look(done, total, note):
        nonlocal before
        if note != before and int(note.partition("-")[2]) % 100 == 99:
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[1])
            megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
            arrays.append(len(jax.live_arrays()))
        before = note

    weight = np.random.default_rng(0).normal(size=(5, 16, 64, 64, 3))
    settings = {**SETTINGS, "metrics": [{"name": "auprc"}, {"name": "energy"}]}
    run(
        tmp_path,
        settings,
        weight=weight.astype(np.float32),
        toys=_Many(400),
        progress=look,
    )
    assert len(megabytes) == 4
    assert megabytes[3] - megabytes[0] < 60  # Kept, 300 clips would be 240.
    assert arrays[3] == arrays[0]
