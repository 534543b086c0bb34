"""What a training does before and beside the fit: checks, and a clock."""

import os
import pathlib
import tempfile
import time


def check_counts(**counts: int) -> None:
    """Raises ValueError unless every count is positive."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}.")


def writable(out: str | os.PathLike) -> pathlib.Path:
    """Returns `out` as a path, sure that a file can be written there."""
    out = pathlib.Path(out)
    if out.suffix != ".safetensors":
        raise ValueError(f"`out` must be a .safetensors file, got {str(out)!r}.")
    if out.is_dir():
        raise IsADirectoryError(f"`out` must name a file, {str(out)!r} is a folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        return out


class Clock:
    """Wall time by stage, in seconds."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Ends a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now
