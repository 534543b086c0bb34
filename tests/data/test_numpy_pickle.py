"""Pickles of Python 2 are read as data; hostile ones are refused, nothing is run."""

import io
import pickle
import warnings

import numpy as np
import pytest
from published import python2_pickle

from jaxattr.data._numpy_pickle import Array, read_pickle

RNG = np.random.default_rng(0)
TREE = {
    "Class/v_Class_g01_c01": {
        "numf": np.uint8(201),
        "label": 3,
        "annotations": [
            {"boxes": RNG.integers(0, 256, (300, 4)).astype(np.uint8), "sf": 0},
            {"boxes": RNG.integers(-300, 999, (5, 4)).astype("<i2"), "sf": -70000},
            {"boxes": np.asfortranarray(RNG.normal(size=(3, 4))), "ef": (1, 2, 3, 4)},
        ],
    },
    "caf\xe9": [True, False, None, (), (7,), "it's", "", []],
}
TREE["caf\xe9"].remove(None)


def plain(value):
    if isinstance(value, Array):
        value = value.value
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(v) for v in value)
    return value


@pytest.mark.parametrize("protocol", [0, 2])
def test_python_2_pickles(tmp_path, protocol):
    data = python2_pickle(TREE, protocol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's old names.
        assert plain(pickle.loads(data, encoding="latin-1")) == plain(TREE)
    (tmp_path / "a.pkl").write_bytes(data)
    assert plain(read_pickle(tmp_path / "a.pkl")) == plain(TREE)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_today(tmp_path, protocol):
    if protocol == 5:  # Arrays there go through a function of their own.
        tree = {"a": [1, -2, 3.5, "b", None, (True, 2**40)]}
    else:
        tree = {**TREE, "c": [1.5, None]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree, protocol=protocol))
    assert plain(read_pickle(tmp_path / "a.pkl")) == plain(tree)


class Attack:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def setattr_attack():
    out = io.BytesIO()  # BUILD on what a global gave.
    out.write(b"cnumpy.core.multiarray\n_reconstruct\n(dS'call'\nI1\nsb.")
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Attack(eval, ("open('RUN', 'w')",)), protocol=2),
        pickle.dumps(Attack(eval, ("open('RUN', 'w')",)), protocol=0),
        pickle.dumps(Attack(open, ("RUN", "w"))),
        pickle.dumps(np.array([Attack(open, ("RUN", "w"))], object), protocol=2),
        setattr_attack(),
        b"\x80\x02]q\x00r\xff\xff\xff\xff.",  # A memo of four thousand million.
        b"(dI1\nI2\ns(lI3\ns.",  # A list as a key.
        b"(i__builtin__\nlist\n.",  # INST.
        b"cnumpy\nndarray\n)\x81.",  # NEWOBJ.
        python2_pickle(TREE, 2)[:-40],
        b"",
        b"\x00\x01",
    ],
    ids=range(12),
)
def test_hostile_and_damaged_pickles_are_refused(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(data)
    if data.startswith(b"\x80\x02]q\x00r"):
        assert read_pickle(tmp_path / "bad.pkl") == []
    else:
        with pytest.raises(ValueError, match=r"bad\.pkl.*nothing in it is executed"):
            read_pickle(tmp_path / "bad.pkl")
    assert not (tmp_path / "RUN").exists()


def test_what_a_pickle_asks_for_is_named(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Attack(eval, ("1",)), protocol=2))
    with pytest.raises(ValueError, match=r"refers to __builtin__\.eval"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("shape", [b"I301\nI4\n", b"I-300\nI-4\n", b"I300\nS'4'\n"])
def test_arrays_must_be_of_the_size_they_say(tmp_path, shape):
    data = python2_pickle(TREE, 0)
    assert b"I300\nI4\n" in data
    (tmp_path / "bad.pkl").write_bytes(data.replace(b"I300\nI4\n", shape))
    with pytest.raises(ValueError, match="cannot be read"):
        read_pickle(tmp_path / "bad.pkl")
