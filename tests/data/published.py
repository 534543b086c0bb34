"""Writes data sets as published: pickles of Python 2, lists, tables, frames."""

import csv
import pathlib
import struct

import numpy as np
import pytest
from numbered_video import picture


def python2_pickle(value, protocol):
    """Pickles as Python 2 did, from the description of the format in `pickletools`.

    Its text is bytes, NumPy's names are the old ones, and everything is put into the
    memo. Written out, because no Python of today writes such files.
    """
    binary = protocol == 2
    memo = iter(range(10**6))

    def put():
        n = next(memo)
        if not binary:
            return b"p%d\n" % n
        return b"q" + bytes([n]) if n < 256 else b"r" + struct.pack("<I", n)

    def text(data):
        if not binary:
            return b"S" + repr(data)[1:].encode("ascii") + b"\n" + put()
        if len(data) < 256:
            return b"U" + bytes([len(data)]) + data + put()
        return b"T" + struct.pack("<i", len(data)) + data + put()

    def number(n):
        if not binary:
            return b"I%d\n" % n
        if 0 <= n < 256:
            return b"K" + bytes([n])
        return (
            b"M" + struct.pack("<H", n)
            if 0 <= n < 65536
            else b"J" + struct.pack("<i", n)
        )

    def group(items):
        if not items and binary:
            return b")"
        if binary and len(items) <= 3:
            return b"".join(items) + bytes([0x84 + len(items)]) + put()
        return b"(" + b"".join(items) + b"t" + put()

    def name(module, function):
        return b"c%s\n%s\n" % (module, function) + put()

    def dtype(kind):
        order = b"|" if kind.itemsize == 1 else b"<"
        state = [number(3), text(order), b"N", b"N", b"N", number(-1), number(-1)]
        call = group([text(kind.str[1:].encode()), number(0), number(1)])
        return (
            name(b"numpy", b"dtype") + call + b"R" + put() + group([*state, number(0)])
        ) + b"b"

    def write(v):
        if isinstance(v, bool):
            return (b"\x88" if v else b"\x89") if binary else b"I%02d\n" % v
        if isinstance(v, np.generic):
            call = group([dtype(v.dtype), text(v.tobytes())])
            return name(b"numpy.core.multiarray", b"scalar") + call + b"R" + put()
        if isinstance(v, np.ndarray):
            fortran = v.flags.f_contiguous and not v.flags.c_contiguous
            empty = [name(b"numpy", b"ndarray"), group([number(0)]), text(b"b")]
            state = [
                number(1),
                group([number(n) for n in v.shape]),
                dtype(v.dtype),
                write(bool(fortran)),
                text(v.tobytes(order="F" if fortran else "C")),
            ]
            made = name(b"numpy.core.multiarray", b"_reconstruct") + group(empty) + b"R"
            return made + put() + group(state) + b"b"
        if isinstance(v, int):
            return number(v)
        if isinstance(v, str):
            return text(v.encode("latin-1"))
        if isinstance(v, tuple):
            return group([write(item) for item in v])
        if isinstance(v, list):
            start = b"]" + put() if binary else b"(l" + put()
            items = [write(item) for item in v]
            if binary:
                return start + b"(" + b"".join(items) + b"e"
            return start + b"".join(item + b"a" for item in items)
        start = b"}" + put() if binary else b"(d" + put()
        pairs = [write(k) + write(item) for k, item in v.items()]
        if binary:
            return start + b"(" + b"".join(pairs) + b"u"
        return start + b"".join(pair + b"s" for pair in pairs)

    return (b"\x80\x02" if binary else b"") + write(value) + b"."


def write_frames(folder, numbers, name="{:05d}.png", size=(24, 32)):
    """Pictures that show their numbers, modulo 256."""
    image = pytest.importorskip("PIL.Image")
    folder.mkdir(parents=True)
    for n in numbers:
        image.fromarray(picture(n % 256, size)).save(folder / name.format(n))
    return folder


def write_table(path, rows):
    """A comma-separated table of dicts."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
