"""Our reader of torch files against torch, and against files that mean harm."""

import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxattr_models import CheckpointError
from jaxattr_models._pth import read_pth

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def _tensors():
    """One of every kind: dtypes, strides, offsets, shared storage, scalars, empty."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(5, 4, 3, generator=generator)
    tensors = {str(d): (10 * base).abs().to(d) for d in DTYPES}
    tensors |= {
        "transposed": base.permute(2, 0, 1),
        "part": base[1:4, ::2, 1],
        "same": base,
        "expanded": torch.arange(3.0).expand(4, 3),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "one": base[2:3, :, 2:3],
        "reinterpreted": torch.arange(8, dtype=torch.uint8).view(torch.float32),
        "parameter": torch.nn.Parameter(base[0]),
    }
    return collections.OrderedDict(tensors)


def _saved(tree, legacy=False, **settings):
    stream = io.BytesIO()
    torch.save(tree, stream, _use_new_zipfile_serialization=not legacy, **settings)
    return stream.getvalue()


def _bits(array):
    return np.ascontiguousarray(array).tobytes()


def _torch_bits(tensor):
    tensor = tensor.detach().contiguous()
    return bytes(tensor.flatten().view(torch.uint8).numpy()) if tensor.numel() else b""


def _assert_same(arrays, tensors):
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        assert arrays[name].shape == tuple(tensor.shape)
        assert arrays[name].dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert _bits(arrays[name]) == _torch_bits(tensor), name


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_bit_for_bit_as_torch_reads_it(legacy, protocol):
    data = _saved(_tensors(), legacy, pickle_protocol=protocol)
    reference = torch.load(io.BytesIO(data), weights_only=False)
    _assert_same(read_pth(data), reference)


def test_a_module_state_dict_with_its_metadata():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.BatchNorm2d(4))
    _assert_same(read_pth(_saved(net.state_dict())), net.state_dict())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrapper", ["state_dict", "model_state", "model_state_dict", "model"]
)
def test_finds_a_wrapped_state_dict(legacy, wrapper):
    tree = {"epoch": 3, wrapper: _tensors(), "note": "α", "best": [1.5, None, True]}
    _assert_same(read_pth(_saved(tree, legacy)), _tensors())


@pytest.mark.parametrize("legacy", [False, True])
def test_storages_are_shared_and_not_copied(legacy):
    base = torch.randn(64)
    data = _saved({"a": base, "b": base.view(8, 8).T}, legacy)
    arrays = read_pth(data)
    assert np.shares_memory(arrays["a"], arrays["b"])
    assert not arrays["a"].flags.writeable


def test_big_endian_file():
    data = _saved({"x": torch.tensor([1.5, -2.25]), "n": torch.tensor([258])})
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(stream, "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("byteorder"):
                content = b"big"
            if "/data/" in name:
                itemsize = 4 if name.endswith("/0") else 8
                content = np.frombuffer(content, f"u{itemsize}").byteswap().tobytes()
            target.writestr(name, content)
    arrays = read_pth(stream.getvalue())
    np.testing.assert_array_equal(arrays["x"], [1.5, -2.25])
    np.testing.assert_array_equal(arrays["n"], [258])


# ---- Files that mean harm ----


class _Calls:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _hostile_objects(marker):
    touch = f"touch {marker}"
    yield _Calls(os.system, touch)
    yield _Calls(eval, f"__import__('os').system({touch!r})")
    yield _Calls(getattr, "os", "system")
    yield _Calls(__import__, "os")
    yield {"state_dict": {"w": _Calls(os.system, touch)}}
    yield {"w": torch.zeros(2), "x": _Calls(os.system, touch)}
    yield _Calls(open, str(marker), "w")
    yield torch.nn.Linear(2, 2)
    yield {"w": torch.zeros(2), "n": np.float32(1)}


@pytest.mark.parametrize("legacy", [False, True])
def test_refuses_code_and_runs_none(tmp_path, legacy):
    marker = tmp_path / "executed"
    for hostile in _hostile_objects(marker):
        with pytest.raises(CheckpointError, match=r"refers to|instruction"):
            read_pth(_saved(hostile, legacy))
    assert not marker.exists()


def _zip(pickled, storages=(), root="archive", **settings):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **settings) as archive:
        archive.writestr(f"{root}/data.pkl", pickled)
        for name, content in storages:
            archive.writestr(f"{root}/data/{name}", content)
    return stream.getvalue()


def _text(value):
    value = value.encode()
    return b"X" + struct.pack("<I", len(value)) + value


def _number(value):
    body = value.to_bytes(20, "little", signed=True)
    return b"\x8a" + bytes([len(body)]) + body


def _tensor_pickle(
    offset=0, size=(2,), stride=(1,), length=4, key="0", kind="storage", count=5
):
    """A hand-written state dict `{"w": tensor}`, honest unless told otherwise."""
    tuple_of = lambda numbers: b"(" + b"".join(map(_number, numbers)) + b"t"
    storage = [_text(kind), b"ctorch\nFloatStorage\n", _text(key), _text("cpu")]
    storage = b"(" + b"".join([*storage, _number(length)][:count]) + b"tQ"
    arguments = storage + _number(offset) + tuple_of(size) + tuple_of(stride)
    call = b"ctorch._utils\n_rebuild_tensor\n(" + arguments + b"tR"
    return b"\x80\x02}" + _text("w") + call + b"s."


FOUR = [("0", np.arange(4, dtype="<f4").tobytes())]


def test_hand_written_file_is_read_when_honest():
    arrays = read_pth(_zip(_tensor_pickle(offset=1, size=(3,)), FOUR))
    np.testing.assert_array_equal(arrays["w"], [1, 2, 3])


@pytest.mark.parametrize(
    "lie",
    [
        {"offset": 3},
        {"offset": -1},
        {"offset": 2**62},
        {"size": (5,)},
        {"size": (-1,)},
        {"size": (2**62, 2**62), "stride": (1, 1)},
        {"size": (2, 2), "stride": (3, 1)},
        {"size": (2,), "stride": (-1,), "offset": 3},
        {"size": (2,), "stride": (2**62,)},
        {"size": (2, 2)},
        {"size": (1,) * 40, "stride": (1,) * 40},
        {"length": 5},
        {"length": 2**62},
        {"length": 2**70},
        {"length": -4},
        {"key": "../data.pkl"},
        {"key": "/etc/passwd"},
        {"key": "1"},
        {"kind": "module"},
        {"count": 4},
        {"count": 0},
    ],
)
def test_refuses_tensors_outside_of_their_storage(lie):
    with pytest.raises(CheckpointError):
        read_pth(_zip(_tensor_pickle(**lie), FOUR))


def test_a_huge_expanded_tensor_takes_no_memory():
    lie = _tensor_pickle(size=(2**20, 2**20), stride=(0, 0))
    assert read_pth(_zip(lie, FOUR))["w"].shape == (2**20, 2**20)


@pytest.mark.parametrize(
    "body",
    [
        b"r\xff\xff\xff\x7f",  # LONG_BINPUT: a memo of 2^31 places, without an item.
        b"}r\xff\xff\xff\x7f0",  # The same with an item; then POP.
        b"\x8d" + b"\xff" * 8,  # BINUNICODE8 of 2^64 bytes.
        b"X\xff\xff\xff\x7fabc",  # BINUNICODE of 2^31 bytes.
        b"\x8b\xff\xff\xff\x7f1",  # LONG4 of 2^31 bytes.
        b"]2" + b"2" * 50,  # DUP, of which exponential structures are made.
        b"h\x07",  # A memo that was never written.
        b"Q",  # A persistent id from an empty stack.
        b"P0\n",  # A persistent id as text.
        b"0",
        b"R",
        b"t",
        b"}]b",  # BUILD on a dict, then the end without STOP.
        b"\x80\x63",  # A protocol of the future.
        b"cbuiltins\ngetattr\n",
        b"cos\nsystem\n",
        b"ccollections\nOrderedDict.fromkeys\n",
        b"ctorch._utils\n__builtins__\n",
        _text("os") + _text("system") + b"\x93",
        b"}}\x93",  # STACK_GLOBAL with unhashable names.
        b"ctorch\nFloatStorage\n)R",  # A storage type called as a function.
        b"})R",
        b"ccollections\nOrderedDict\n)\x81",  # NEWOBJ.
        b"ctorch._utils\n_rebuild_tensor\nN}(X\x08\x00\x00\x00__code__Nu\x86b)R",
        b"ctorch._utils\n_rebuild_parameter\n(K\x01K\x02K\x03tR",
        b"K\x01K\x02a",
        b"]K\x01K\x02s",
        b"}(K\x01u",
        b"}}K\x01s",
        b"(" * 10_000,
    ],
)
def test_refuses_pickles_that_no_state_dict_needs(body):
    for end in (b".", b""):
        with pytest.raises(CheckpointError):
            read_pth(_zip(b"\x80\x02" + body + end))


@pytest.mark.parametrize("root", ["a", "archive"])
def test_refuses_archives_that_torch_never_writes(root):
    good = _tensor_pickle()
    with pytest.raises(CheckpointError, match="compressed"):
        read_pth(_zip(good, FOUR, root, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match=r"data\.pkl"):
        read_pth(_zip(good, [("data.pkl", good)], root))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../readme", "nothing")
    with pytest.raises(CheckpointError, match=r"data\.pkl"):
        read_pth(stream.getvalue())


@pytest.mark.parametrize("renamed", [True, False])
def test_refuses_overlapping_entries(renamed):
    """A file whose directory names one large entry many times over."""
    data = _zip(_tensor_pickle(), [("0", bytes(1000))])
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[data.index(b"PK\x01\x02", start + 1) : end]
    names = (b"data/%d" % (i if renamed else 0) for i in range(1, 10))
    copies = [entry.replace(b"data/0", name) for name in names]
    directory = data[start:end] + b"".join(copies)
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 11, 11, len(directory))
    with pytest.raises(CheckpointError, match="overlaps"):
        read_pth(data[:start] + directory + bytes(tail))


def test_refuses_a_damaged_storage():
    data = bytearray(_zip(_tensor_pickle(), FOUR))
    data[data.index(FOUR[0][1]) + 5] ^= 1
    with pytest.raises(CheckpointError, match="CRC"):
        read_pth(bytes(data))


@pytest.mark.parametrize(
    "tree",
    [
        torch.zeros(3),
        {},
        [torch.zeros(3)],
        {"epoch": 1},
        {"w": torch.zeros(2), "epoch": 1},
        {1: torch.zeros(2)},
        {"state_dict": {"state_dict": {"state_dict": {"w": torch.zeros(1)}}}},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_refuses_what_holds_no_state_dict(tree, legacy):
    with pytest.raises(CheckpointError, match="no state dict"):
        read_pth(_saved(tree, legacy))


SMALL = {
    legacy: _saved({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3)}, legacy)
    for legacy in (False, True)
}


@pytest.mark.parametrize("legacy", [False, True])
def test_every_truncation_is_refused(legacy):
    data = SMALL[legacy]
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            read_pth(data[:length])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.booleans(), st.data())
def test_a_changed_file_is_read_or_refused(legacy, draw):
    data = bytearray(SMALL[legacy])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        arrays = read_pth(bytes(data))
    except CheckpointError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_random_pickles_are_refused(body):
    with pytest.raises(CheckpointError):
        read_pth(_zip(b"\x80\x02" + body))


def test_python_would_have_executed_these_files(tmp_path):
    """The hostile files of this page do harm where nobody refuses them."""
    marker = tmp_path / "executed"
    pickle.loads(pickle.dumps(_Calls(os.system, f"touch {marker}")))
    assert marker.exists()


def _legacy(
    tensor, keys=("0",), storages=((4, FOUR[0][1]),), magic=0x1950A86A20F9469CFC6C
):
    parts = [magic, 1001, {"little_endian": True}]
    data = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    data += tensor + pickle.dumps(list(keys), protocol=2)
    return data + b"".join(struct.pack("<q", n) + body for n, body in storages)


def _legacy_pickle(view, size=(2,), length=4):
    """A tensor of a storage that is a view (key, start, length) of another."""
    pickled = _tensor_pickle(size=size, length=length)
    metadata = b"N" if view is None else b"(" + _text("9") + b"%s%st" % view
    return pickled.replace(b"tQ", metadata + b"tQ")


def test_legacy_view_of_a_storage():
    whole = read_pth(_legacy(_legacy_pickle(None, size=(4,))))
    np.testing.assert_array_equal(whole["w"], [0, 1, 2, 3])
    part = read_pth(_legacy(_legacy_pickle((_number(1), _number(3)), size=(3,))))
    np.testing.assert_array_equal(part["w"], [1, 2, 3])


@pytest.mark.parametrize(
    "data",
    [
        _legacy(_legacy_pickle((_number(3), _number(2)))),
        _legacy(_legacy_pickle((_number(-1), _number(2)))),
        _legacy(_legacy_pickle((_number(1), _number(2**62)))),
        _legacy(_legacy_pickle((_number(1), _number(2)), size=(3,))),
        _legacy(_legacy_pickle(None, length=5)),
        _legacy(_legacy_pickle(None), storages=[(2**61, b"")]),
        _legacy(_legacy_pickle(None, length=2**61), storages=[(2**61, b"")]),
        _legacy(_legacy_pickle(None), storages=[(-1, b"")]),
        _legacy(_legacy_pickle(None), keys=[]),
        _legacy(_legacy_pickle(None), keys=["1"]),
        _legacy(_legacy_pickle(None), keys=[["0"]]),
        _legacy(_legacy_pickle(None), magic=1),
    ],
)
def test_refuses_legacy_files_that_lie(data):
    with pytest.raises(CheckpointError):
        read_pth(data)


def test_a_published_legacy_file(shared_weights):
    path = shared_weights / "resnet20_cifar10-12fca82f.th"
    loaded = torch.load(path, map_location="cpu", weights_only=True)  # Saved on CUDA.
    reference = loaded["state_dict"]
    assert len(reference) > 90
    _assert_same(read_pth(path.read_bytes()), reference)
