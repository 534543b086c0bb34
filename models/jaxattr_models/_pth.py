"""Reads torch's checkpoint files, zip and legacy, without torch; executes nothing."""

import io
import struct
import sys
import zipfile

import ml_dtypes
import numpy as np

from jaxattr_models import _pickle
from jaxattr_models._errors import CheckpointError
from jaxattr_models._pickle import Storage, StorageType, Tensor, is_count

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")
# File contents that were read, by storage key, and their byte order.
_Contents = dict[str, bytes | memoryview]


def read_pth(data: bytes) -> dict[str, np.ndarray]:
    """Reads the state dict of a torch checkpoint.

    Storages are shared, not copied: the arrays are read-only views of `data` as far as
    the byte order permits.

    Args:
      data: the whole file, in the zip format (torch 1.6 and later) or the legacy one.

    Returns:
      The state dict, unwrapped where it is wrapped (`{"state_dict": ..., "epoch": 3}`).

    Raises:
      CheckpointError: if the file is truncated or malformed, refers to anything outside
        the allow-list of `_pickle`, or holds no state dict.
    """
    try:
        if data.startswith(b"PK"):
            tree, contents, order = _read_zip(data)
        else:
            tree, contents, order = _read_legacy(data)
        return {
            name: _array(tensor, contents, order)
            for name, tensor in _state_dict(tree).items()
        }
    except CheckpointError:
        raise
    except Exception as error:  # Decoding hostile bytes may raise almost anything.
        raise CheckpointError(
            f"the checkpoint is truncated or malformed ({type(error).__name__}: "
            f"{error})"
        ) from error


def _read_zip(data: bytes) -> tuple[object, _Contents, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        stored = all(e.compress_type == zipfile.ZIP_STORED for e in entries.values())
        size = sum(entry.file_size for entry in archive.infolist())
        if not stored or size > len(data):
            raise CheckpointError(
                "the checkpoint's archive is compressed or overlaps itself, "
                "as torch never writes it"
            )
        roots = [n[: -len("data.pkl")] for n in entries if n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise CheckpointError(
                f"the checkpoint's archive holds {len(roots)} files data.pkl, not one"
            )
        root = roots[0]
        order = "little"
        if f"{root}byteorder" in entries:
            order = archive.read(f"{root}byteorder").decode("ascii").strip()
        if order not in ("little", "big"):
            raise CheckpointError(f"the checkpoint's byte order is {order!r}")
        contents: _Contents = {}

        def storage(reference) -> Storage:
            kind, dtype, key, _, length = reference
            if kind != "storage" or not _is_storage(dtype, key, length):
                raise CheckpointError("the checkpoint holds a malformed storage")
            if key not in contents:  # An exact name in the archive, never a path.
                contents[key] = archive.read(f"{root}data/{key}")
            return _checked(Storage(key, dtype.dtype, length), contents)

        tree = _pickle.read(io.BytesIO(archive.read(f"{root}data.pkl")), storage)
        return tree, contents, order


def _read_legacy(data: bytes) -> tuple[object, _Contents, str]:
    stream = io.BytesIO(data)
    roots: dict[str, Storage] = {}

    def storage(reference) -> Storage:
        kind, dtype, key, _, length, view = reference
        if kind != "storage" or not _is_storage(dtype, key, length):
            raise CheckpointError("the checkpoint holds a malformed storage")
        whole = roots.setdefault(key, Storage(key, dtype.dtype, length))
        if whole != Storage(key, dtype.dtype, length):
            raise CheckpointError(f"the checkpoint describes storage {key} twice")
        if view is None:
            return whole
        _, start, count = view
        if not is_count(start) or not is_count(count) or start + count > length:
            raise CheckpointError(f"the checkpoint views outside of storage {key}")
        return Storage(key, dtype.dtype, count, start)

    def refuse(reference):
        raise CheckpointError("the checkpoint holds a storage out of place")

    magic, protocol = (_pickle.read(stream, refuse) for _ in range(2))
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise CheckpointError("the file is not a torch checkpoint")
    _pickle.read(stream, refuse)  # Sizes of C types, of no meaning to the data.
    tree = _pickle.read(stream, storage)
    keys = _pickle.read(stream, refuse)
    contents: _Contents = {}
    for key in keys:
        whole = roots[key]
        (length,) = struct.unpack("<q", stream.read(8))
        if length != whole.length:
            raise CheckpointError(f"the checkpoint's storage {key} changes its length")
        start = stream.tell()
        stop = start + length * _dtype(whole.dtype).itemsize
        contents[key] = memoryview(data)[start:stop]
        _checked(whole, contents)
        stream.seek(stop)
    return tree, contents, "little"  # torch swaps legacy data on a big machine.


def _is_storage(dtype: object, key: object, length: object) -> bool:
    return isinstance(dtype, StorageType) and type(key) is str and is_count(length)


def _checked(storage: Storage, contents: _Contents) -> Storage:
    need = storage.length * _dtype(storage.dtype).itemsize
    if need > len(contents[storage.key]):
        raise CheckpointError(
            f"the checkpoint's storage {storage.key} has "
            f"{len(contents[storage.key])} bytes of {need}: is the file truncated?"
        )
    return storage


def _dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def _array(tensor: Tensor, contents: _Contents, order: str) -> np.ndarray:
    """Returns the tensor as a read-only view, copied only to swap its bytes."""
    storage, dtype = tensor.storage, _dtype(tensor.storage.dtype)
    first = storage.start * dtype.itemsize
    run = memoryview(contents[storage.key])[first:]
    flat = np.frombuffer(run[: storage.length * dtype.itemsize], f"u{dtype.itemsize}")
    if order != sys.byteorder:
        flat = flat.byteswap()
    # The stride of an axis with one element is never taken, and may be anything.
    strides = [
        step * dtype.itemsize if n > 1 else 0
        for n, step in zip(tensor.size, tensor.stride)
    ]
    return np.lib.stride_tricks.as_strided(
        flat.view(dtype)[tensor.offset :], tensor.size, strides, writeable=False
    )


def _state_dict(tree: object) -> dict[str, Tensor]:
    """Finds the dict of tensors, up to two wrappers deep."""
    for _ in range(3):
        if not isinstance(tree, dict):
            break
        names = all(type(name) is str for name in tree)
        tensors = all(isinstance(value, Tensor) for value in tree.values())
        if tree and names and tensors:
            return tree
        wrapped = [tree[n] for n in _WRAPPERS if isinstance(tree.get(n), dict)]
        if not wrapped:
            break
        tree = wrapped[0]
    held = list(tree)[:12] if isinstance(tree, dict) else type(tree).__name__
    raise CheckpointError(
        f"the checkpoint holds no state dict, at the top or under {_WRAPPERS}; it "
        f"holds {held}"
    )
