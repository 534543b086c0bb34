"""Times competitors fairly: warm, interleaved, medians, the machine beside them."""

import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

_PAUSE = 0.3  # Seconds; libgomp and libomp spin for at most 0.2.


def interleaved(
    runs: Mapping[str, Callable[[], Any]], repeats: int = 7, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of every run, one round of all after another.

    What disturbs the machine for a while then disturbs all competitors alike. The
    first round warms up (compiles) and is not counted. Each run starts after a pause:
    the threads of an OpenMP library, torch's among them, spin for a while after their
    work is done and would slow down whoever comes next.

    Args:
      runs: name -> function to time; what it returns is waited for.
      repeats: counted rounds.
      warm_up: False counts the first round too, of runs that were warmed up before.

    Returns:
      name -> seconds of each round.
    """
    seconds = {name: [] for name in runs}
    for round_ in range(repeats + warm_up):
        for name, run in runs.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            jax.block_until_ready(run())
            if round_ or not warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Median of every competitor's rounds."""
    return {name: statistics.median(rounds) for name, rounds in seconds.items()}


def machine() -> dict[str, Any]:
    """What a reader needs to judge a time: device, cores, load, versions."""
    record = {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }
    for name in ("jax", "jaxlib", "flax", "torch", "torchvision", "jaxattr"):
        try:
            record[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            record[name] = None
    return record


def write(out: str | os.PathLike | None, record: Mapping[str, Any]) -> None:
    """Writes a record as JSON, when there is somewhere to."""
    if out is not None:
        path = pathlib.Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
