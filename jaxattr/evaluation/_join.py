"""One table of all processes' records."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from jaxattr.data._extras import need
from jaxattr.evaluation._folder import FILE, alone, whole
from jaxattr.evaluation._records import Block, read_block, read_blocks

TABLE = "records.parquet"
_GROUP = 5_000  # Rows held at a time, each with a path of some hundred numbers.


def join_records(
    out: str | pathlib.Path, *, partial: bool = False
) -> pathlib.Path | None:
    """Writes `records.parquet` of all records in the folder of an evaluation.

    Rows are in the order of the settings: by network, data set, clip, method, metric;
    which process wrote them, and when, changes nothing. Memory does not grow with the
    number of clips but for a few numbers each.

    Args:
      out: the folder.
      partial: whether to do so before all clips are done.

    Returns:
      The file; None if clips are missing.

    Raises:
      ValueError: `out` is not the folder of an evaluation, or its records are damaged.
      ImportError: pyarrow is not installed.
    """
    out = pathlib.Path(out)
    if not (out / FILE).exists():
        raise ValueError(f"`out` {str(out)!r} is no evaluation: it has no {FILE}.")
    kept = json.loads((out / FILE).read_text("utf-8"))
    found = find_blocks(out, _rows(kept))
    cells = [
        (network, data)
        for network in kept["settings"]["networks"]
        for data in kept["settings"]["data"]
    ]
    complete = all(
        data in kept["clips"].get(network, {})
        and len(found.get((network, data), ())) == kept["clips"][network][data]["num"]
        for network, data in cells
    )
    if not (complete or partial):
        return None
    blocks = (
        found[cell][index] for cell in cells for index in sorted(found.get(cell, ()))
    )
    return _write(out / TABLE, _records(blocks), kept["hash"])


def find_blocks(
    out: pathlib.Path, rows: int
) -> dict[tuple[str, str], dict[int, tuple[pathlib.Path, Block]]]:
    """Where each clip's records are: (network, data) -> index -> file and block."""
    found: dict[Any, Any] = {}
    for path in sorted(out.glob("records-*of*.jsonl")):
        for block in read_blocks(path, rows):
            cell = found.setdefault((block.network, block.data), {})
            cell.setdefault(block.index, (path, block))
    return found


def _rows(kept):
    return len(kept["settings"]["methods"]) * len(kept["settings"]["metrics"])


def _records(blocks) -> Iterator[dict[str, Any]]:
    for path, block in blocks:
        yield from read_block(path, block)


def _write(path, records, digest):
    pyarrow = need("pyarrow", "pyarrow", "data")
    parquet = need("pyarrow.parquet", "pyarrow", "data")
    text, number, count = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    kinds = {
        "network": text,
        "data": text,
        "group": text,
        "clip": text,
        "index": count,
        "target": count,
        "method": text,
        "metric": text,
        "value": number,
        "direction": text,
        "gradients": number,
        "seconds": number,
        "memory": count,
        "status": text,
        "message": text,
        "curve": pyarrow.list_(number),
        "shown": pyarrow.list_(number),
    }
    schema = pyarrow.schema(list(kinds.items()), metadata={"jaxattr.hash": digest})
    with (
        alone(path.parent),
        whole(path) as part,
        parquet.ParquetWriter(part, schema) as writer,
    ):
        held = []
        for record in records:
            held.append(record)
            if len(held) == _GROUP:
                writer.write_table(pyarrow.Table.from_pylist(held, schema))
                held = []
        writer.write_table(pyarrow.Table.from_pylist(held, schema))
    return path
