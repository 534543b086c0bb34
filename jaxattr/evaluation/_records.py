"""The files of records: a clip's block of lines is there as a whole or not at all.

A process appends the lines of one clip at a time and waits until they are on the disk.
What a crash leaves of a block at the end of the file is cut off before the next one.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Block(NamedTuple):
    """The records of one clip in a file.

    Attributes:
      network: label.
      data: label.
      index: of the clip.
      status: of the first record.
      start: where the block starts, in bytes.
      stop: where it ends.
    """

    network: str
    data: str
    index: int
    status: str
    start: int
    stop: int


def read_blocks(path: pathlib.Path, rows: int) -> Iterator[Block]:
    """Yields the whole blocks of a file; what is torn at its end is left out.

    Args:
      path: of the file; it need not exist.
      rows: of every block.

    Raises:
      ValueError: the file is damaged elsewhere than at its end.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # Its process may be writing on.
        start = position = count = 0
        first: Any = None
        for line in file:
            position += len(line)
            record = _parse(line)
            if record is None or (first and _of(record) != _of(first)):
                if position < size:
                    raise ValueError(
                        f"{path} is damaged near byte {start}, not at its end: move it "
                        "away, and its clips will be done again."
                    )
                return
            first, count = first or record, count + 1
            if count == rows:
                yield Block(*_of(first), first["status"], start, position)
                first, count, start = None, 0, position


def read_block(path: pathlib.Path, block: Block) -> list[dict[str, Any]]:
    """The records of a block."""
    with path.open("rb") as file:
        file.seek(block.start)
        lines = file.read(block.stop - block.start)
    return [json.loads(line) for line in lines.splitlines()]


class RecordsFile:
    """Appends blocks to a file, each as a whole.

    Args:
      path: of the file, made if need be; from `stop` on, where the last whole block
        ends, it is cut off.
      stop: in bytes.
    """

    def __init__(self, path: pathlib.Path, stop: int):
        self._path, self._stop = path, stop
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._file, stop)
        os.lseek(self._file, stop, os.SEEK_SET)

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Writes a block and waits until it is on the disk.

        Raises:
          OSError: there is no room; nothing of the block is left.
        """
        lines = (json.dumps(r, ensure_ascii=False, allow_nan=False) for r in records)
        left = memoryview("".join(f"{line}\n" for line in lines).encode())
        size = len(left)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except BaseException as error:
            os.ftruncate(self._file, self._stop)
            os.lseek(self._file, self._stop, os.SEEK_SET)
            if not isinstance(error, OSError):
                raise
            raise OSError(
                error.errno,
                f"a clip's records cannot be written ({error.strerror}). Those of the "
                "clips before are kept: make room, and run the same again",
                str(self._path),
            ) from error
        self._stop += size

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
        _of(record)
        return record
    except (ValueError, KeyError, TypeError):
        return None


def _of(record):
    return record["network"], record["data"], record["index"]
