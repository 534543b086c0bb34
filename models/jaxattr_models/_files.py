"""Reads and writes files of weights, whatever their format."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
import safetensors.numpy

from jaxattr_models._errors import CheckpointError
from jaxattr_models._pth import read_pth


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads named arrays from a `.pth` or `.safetensors` file, told by its content.

    Raises:
      CheckpointError: if the file is neither, broken, or refused.
      FileNotFoundError: if there is no such file.
    """
    with path.open("rb") as file:
        head = file.read(9)
    try:
        if head[8:] == b"{":  # Behind the header's length, which may begin as below.
            return _read_safetensors(path)
        if head.startswith((b"PK\x03\x04", b"\x80")):
            return read_pth(path.read_bytes())
    except CheckpointError as error:
        raise CheckpointError(f"`{path}`: {error}") from error
    raise CheckpointError(
        f"`{path}` is neither a torch checkpoint nor a safetensors file "
        f"({path.stat().st_size} bytes)."
    )


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with safetensors.safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # The library's own, and TypeError for exotic dtypes.
        raise CheckpointError(
            f"the safetensors file is truncated or malformed ({error})"
        ) from error


def write_safetensors(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file; it appears complete or not at all."""
    # The format has no strides, and the library does not look at them.
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    with replacing(path) as file:
        file.write(safetensors.numpy.save(plain, dict(metadata)))


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` that takes its place at the end.

    However the block is left other than by its end, nothing stays behind.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
