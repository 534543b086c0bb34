"""Reads the few pickle instructions a state dict consists of, and executes nothing.

Python's own unpickler calls what the file names, lets a file set attributes on what it
got hold of (`BUILD`), and reserves memory without bound (`LONG_BINPUT`). Here a global
is a name in a table of four functions of ours and ten storage types, `BUILD` is
ignored, the memo is a dict, and an instruction that no state dict needs is refused.
`pickletools` decodes the instructions, so that every argument lies within the file.
"""

import dataclasses
import math
import pickletools
from collections.abc import Callable
from typing import BinaryIO

from jaxattr_models._errors import CheckpointError

_MAX_AXES = 32


@dataclasses.dataclass(frozen=True)
class StorageType:
    """What torch calls FloatStorage and so on: the dtype's name."""

    dtype: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of numbers elsewhere in the file, or a view of one; counts in elements."""

    key: str
    dtype: str
    length: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A strided view of a storage, counts in elements, known to lie within it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self):
        counts = (self.offset, *self.size, *self.stride)
        if not isinstance(self.storage, Storage) or not all(map(is_count, counts)):
            raise CheckpointError("the checkpoint holds a malformed tensor")
        if len(self.size) != len(self.stride) or len(self.size) > _MAX_AXES:
            raise CheckpointError(
                f"the checkpoint holds a tensor of {len(self.size)} sizes and "
                f"{len(self.stride)} strides"
            )
        reach = sum((n - 1) * step for n, step in zip(self.size, self.stride)) + 1
        end = self.offset + reach if math.prod(self.size) else 0
        if end > self.storage.length:
            raise CheckpointError(
                f"the checkpoint holds a tensor that reaches to element {end} of a "
                f"storage of {self.storage.length}"
            )


def is_count(value: object) -> bool:
    """Whether a value is an integer from 0 to 2^63 - 1."""
    return type(value) is int and 0 <= value < 2**63


def read(stream: BinaryIO, storage: Callable[[object], Storage]) -> object:
    """Reads one pickle of a checkpoint; the stream ends up just behind it.

    Args:
      stream: at the pickle's first byte.
      storage: makes a `Storage` of what the pickle says about one.

    Returns:
      Dicts, lists, tuples, numbers, text and `Tensor`s.

    Raises:
      CheckpointError: if the pickle asks for anything that a state dict does not need.
        A truncated or malformed one may raise any exception.
    """
    machine = _Machine(storage)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.step(opcode.name, argument)
    raise CheckpointError("the checkpoint's pickle has no end")


_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    }
)


class _Machine:
    """The stack, the stacks below each mark, and the memo of one pickle."""

    def __init__(self, storage: Callable[[object], Storage]):
        self.stack: list = []
        self.below: list[list] = []
        self.memo: dict[int, object] = {}
        self.storage = storage

    def step(self, name: str, argument) -> None:
        """Carries out one instruction."""
        match name:
            case "PROTO" | "FRAME":
                return
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "APPEND":
                self.extend(self.take(1))
            case "APPENDS":
                self.extend(self.since_mark())
            case "SETITEM":
                self.update(self.take(2))
            case "SETITEMS":
                self.update(self.since_mark())
            case "BUILD":
                self.take(1)  # Attributes of an OrderedDict: torch's version numbers.
            case _:
                value = self.value(name, argument)  # May first replace the stack.
                self.stack.append(value)

    def value(self, name: str, argument):
        """Returns what an instruction pushes onto the stack."""
        match name:
            case "NONE":
                return None
            case "NEWTRUE" | "NEWFALSE":
                return name == "NEWTRUE"
            case "EMPTY_DICT":
                return {}
            case "EMPTY_LIST":
                return []
            case "EMPTY_TUPLE":
                return ()
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple(self.take(int(name[-1])))
            case "TUPLE":
                return tuple(self.since_mark())
            case "BINGET" | "LONG_BINGET":
                return self.memo[argument]
            case "GLOBAL":
                return _look_up(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                return _look_up(*self.take(2))
            case "REDUCE":
                return _call(*self.take(2))
            case "BINPERSID":
                return self.storage(*self.take(1))
        if name in _LITERALS:
            return argument
        raise CheckpointError(
            f"the checkpoint uses the pickle instruction {name}, which no plain state "
            "dict needs, and nothing from the file is executed"
        )

    def take(self, count: int) -> list:
        """Takes the topmost items, which must lie above the last mark."""
        if len(self.stack) < count:
            raise CheckpointError("the checkpoint's pickle runs out of its stack")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def since_mark(self) -> list:
        """Takes everything above the last mark, and the mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def extend(self, items: list) -> None:
        """Appends to the list on top of the stack."""
        if type(self.stack[-1]) is not list:
            raise CheckpointError("the checkpoint appends to what is not a list")
        self.stack[-1].extend(items)

    def update(self, items: list) -> None:
        """Sets items, as key, value, key, value, of the dict on top of the stack."""
        if type(self.stack[-1]) is not dict:
            raise CheckpointError("the checkpoint sets items of what is not a dict")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))


@dataclasses.dataclass(frozen=True)
class _Function:
    """Wraps ours, so that no function itself ever lies on the stack."""

    call: Callable


def _rebuild_tensor(storage, offset, size, stride):
    return Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_tensor_v2(storage, offset, size, stride, grad, hooks, metadata=None):
    return _rebuild_tensor(storage, offset, size, stride)


def _rebuild_parameter(tensor, grad, hooks):
    return tensor


_GLOBALS = {
    # Insertion order is all that an OrderedDict would add.
    ("collections", "OrderedDict"): _Function(lambda items=(): dict(items)),
    ("torch._utils", "_rebuild_tensor"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("torch", "DoubleStorage"): StorageType("float64"),
    ("torch", "FloatStorage"): StorageType("float32"),
    ("torch", "HalfStorage"): StorageType("float16"),
    ("torch", "BFloat16Storage"): StorageType("bfloat16"),
    ("torch", "LongStorage"): StorageType("int64"),
    ("torch", "IntStorage"): StorageType("int32"),
    ("torch", "ShortStorage"): StorageType("int16"),
    ("torch", "CharStorage"): StorageType("int8"),
    ("torch", "ByteStorage"): StorageType("uint8"),
    ("torch", "BoolStorage"): StorageType("bool"),
}


def _look_up(module: object, name: object) -> object:
    if (module, name) in _GLOBALS:
        return _GLOBALS[module, name]
    raise CheckpointError(
        f"the checkpoint refers to {module}.{name}, which is not part of a plain state "
        "dict, and nothing from the file is executed; save `model.state_dict()` alone"
    )


def _call(function: object, arguments: object) -> object:
    if type(arguments) is not tuple or not isinstance(function, _Function):
        raise CheckpointError("the checkpoint calls what is not a function")
    return function.call(*arguments)
