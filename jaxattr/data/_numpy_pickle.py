"""Reads a pickle of numbers, text, containers and NumPy arrays, and executes nothing.

Annotations of several data sets come as pickles of Python 2. Python's own unpickler
calls whatever a file names. Here the instructions are a short list, a global is a name
in a table of four functions of ours, and the state of an object goes into an array or
nowhere.
"""

import codecs
import io
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

_DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"})


def read_pickle(path: pathlib.Path) -> Any:
    """Reads a pickle of any protocol, its text as Latin-1.

    Args:
      path: of the file.

    Returns:
      Dicts, lists, tuples, numbers, text and `Array`s.

    Raises:
      ValueError: it is cut off or malformed, or asks for something else.
    """
    try:
        return _Reader(io.BytesIO(path.read_bytes())).load()
    except OSError:
        raise
    except Exception as error:  # A malformed one may raise any.
        raise ValueError(
            f"{str(path)!r} cannot be read as a pickle of numbers and arrays, and "
            f"nothing in it is executed: {type(error).__name__}: {error}"
        ) from error


class Array:
    """Holds a NumPy array as `value`, from the moment its pickle says what is in it."""

    value: np.ndarray


class _Dtype:
    order = "|"

    def __init__(self, code: object):
        if code not in _DTYPES:
            raise ValueError(f"it has an array of type {code!r}.")
        self.code = str(code)

    def decode(self, data: object) -> np.ndarray:
        data = data.encode("latin-1") if isinstance(data, str) else data
        return np.frombuffer(data, np.dtype(self.order + self.code))


class _Function:
    """Wraps ours, so that no function itself ever lies on the stack."""

    def __init__(self, call: Callable):
        self.call = call


def _encode(text, encoding):
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it has bytes written as {encoding!r}.")
    return codecs.encode(text, "latin-1")


_FUNCTIONS = {
    "_reconstruct": _Function(lambda *_: Array()),
    "scalar": _Function(lambda dtype, data: dtype.decode(data)[0].item()),
    "dtype": _Function(lambda code, *_: _Dtype(code)),
    "ndarray": None,  # Named only as the kind of array to reconstruct.
}
_GLOBALS = {
    **{("numpy", name): value for name, value in _FUNCTIONS.items()},
    **{("numpy.core.multiarray", name): value for name, value in _FUNCTIONS.items()},
    **{("numpy._core.multiarray", name): value for name, value in _FUNCTIONS.items()},
    ("_codecs", "encode"): _Function(_encode),
}
_LITERALS = (
    *("INT", "LONG", "FLOAT", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("NONE", "NEWTRUE", "NEWFALSE", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "MARK"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "LIST", "APPEND", "APPENDS"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "GET", "BINGET", "LONG_BINGET"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "PROTO", "FRAME", "STOP"),
)


# The one written in C reserves memory for as many objects as a file claims to have.
class _Reader(pickle._Unpickler):
    def __init__(self, file: io.BytesIO):
        super().__init__(file, encoding="latin-1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise ValueError(f"it refers to {module}.{name}.")
        return _GLOBALS[module, name]

    def _call(self):
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Function) or type(arguments) is not tuple:
            raise ValueError("it calls what is not a function.")
        self.append(function.call(*arguments))

    def _build(self):
        state, held = self.stack.pop(), self.stack[-1]
        if isinstance(held, _Dtype):
            _, held.order, *rest = state
            if held.order not in ("<", ">", "|", "=") or any(map(_is_named, rest)):
                raise ValueError("it has an array of records.")
        elif isinstance(held, Array):
            _, shape, dtype, fortran, data = state
            order = "F" if fortran else "C"
            held.value = dtype.decode(data).reshape(shape, order=order)
        else:
            raise ValueError("it sets attributes of what has none.")

    def _set_items(self, pairs):
        keys, held = pairs[::2], self.stack[-1]
        if type(held) is not dict or not all(type(k) in (str, int) for k in keys):
            raise ValueError("it has a dict whose keys are neither text nor numbers.")
        held.update(zip(keys, pairs[1::2], strict=True))

    def _set_item(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _set_items_since_mark(self):
        pairs = self.pop_mark()  # Which brings the dict back onto the stack.
        self._set_items(pairs)

    def _dict(self):
        pairs = self.pop_mark()
        self.append({})
        self._set_items(pairs)

    dispatch = {  # noqa: RUF012 - as in the base class.
        **{
            code: pickle._Unpickler.dispatch[code]
            for name in (*_LITERALS, "GLOBAL", "STACK_GLOBAL")
            for code in getattr(pickle, name)
        },
        pickle.REDUCE[0]: _call,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items_since_mark,
        pickle.DICT[0]: _dict,
    }


def _is_named(value):
    """Whether part of a dtype's state is more than None and small integers."""
    return value is not None and type(value) is not int
