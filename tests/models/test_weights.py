"""Loading is all or nothing, saving is atomic, and every error says what to do."""

import hashlib
import json
import os
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import torchvision
from flax import nnx

import jaxattr_models as models
from jaxattr_models import CheckpointError, weights


class Small(nnx.Module):
    """Two parameters, statistics, and the names of an original in torch."""

    def __init__(self):
        self.name = "small"
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(2, 3, (1, 2, 4), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)

    def source_name(self, path):
        """As torch calls them in a sequence of a convolution and its batch norm."""
        return {
            "conv/kernel": ("0.weight", (2, 3, 4, 1, 0)),
            "norm/scale": ("1.weight", None),
            "norm/bias": ("1.bias", None),
            "norm/mean": ("1.running_mean", None),
            "norm/var": ("1.running_var", None),
        }[path]


def _source():
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv3d(2, 3, (1, 2, 4), bias=False), torch.nn.BatchNorm3d(3)
    )
    net[1].running_mean.normal_()
    return net.state_dict()


def _leaves(module):
    return {
        "/".join(map(str, key)): np.array(variable[...])
        for key, variable in nnx.to_flat_state(nnx.state(module))
    }


def _assert_holds(module, source):
    kernel = np.moveaxis(source["0.weight"].numpy(), (0, 1), (-1, -2))
    np.testing.assert_array_equal(module.conv.kernel[...], kernel)
    np.testing.assert_array_equal(module.norm.mean[...], source["1.running_mean"])
    np.testing.assert_array_equal(module.norm.scale[...], source["1.weight"])


def _prefixed(state):
    return {f"module.{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        _prefixed,
        lambda state: {"state_dict": _prefixed(state), "epoch": 4},
        lambda state: {"model_state": state, "optimizer_state": {"state": {}}},
        lambda state: {n: v.double() for n, v in state.items() if v.ndim},
    ],
)
def test_loads_torch_files(tmp_path, wrap):
    path = tmp_path / "w.pth"
    torch.save(wrap(_source()), path)
    module = Small()
    weights.load(module, path)
    _assert_holds(module, _source())
    assert all(leaf.dtype == np.float32 for leaf in _leaves(module).values())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_loads_safetensors_with_the_original_names(tmp_path, dtype):
    path = tmp_path / "w.safetensors"
    arrays = {n: v.numpy() for n, v in _source().items()}
    safetensors.numpy.save_file({n: v.astype(dtype) for n, v in arrays.items()}, path)
    module = Small()
    weights.load(module, str(path))
    tolerance = 1e-3 if dtype == np.float16 else 0
    np.testing.assert_allclose(
        module.norm.mean[...], arrays["1.running_mean"], rtol=tolerance
    )


def test_loads_bfloat16(tmp_path):
    source = {n: v.bfloat16() for n, v in _source().items() if v.ndim}
    torch.save(source, tmp_path / "w.pth")
    module = Small()
    weights.load(module, tmp_path / "w.pth")
    _assert_holds(module, {n: v.float() for n, v in source.items()})


def _fitting():
    return {n: v.numpy() for n, v in _source().items() if v.ndim}


def _broken():
    """What is wrong, the arrays, and the names that the error must list."""
    good = _fitting()
    without = {n: a for n, a in good.items() if n != "1.bias"}
    yield "missing", without, ["1.bias"]
    yield "surplus", good | {"2.weight": np.ones(3, np.float32)}, ["2.weight"]
    yield "misshaped", good | {"1.bias": np.ones(4, np.float32)}, ["1.bias"]
    flipped = np.moveaxis(good["0.weight"], 0, 1)
    yield "misshaped", good | {"0.weight": flipped}, ["0.weight"]
    yield "misshaped", good | {"0.weight": np.ones(3, np.float32)}, ["0.weight"]
    yield "misshaped", good | {"1.bias": np.ones(3, np.int32)}, ["1.bias"]
    nan = np.array([0, np.nan, 1], np.float32)
    yield "nonfinite", good | {"1.bias": nan}, ["1.bias"]
    yield "nonfinite", good | {"1.bias": np.full(3, 1e300)}, ["1.bias"]


@pytest.mark.parametrize(("kind", "arrays", "names"), list(_broken()))
def test_never_loads_a_part(tmp_path, kind, arrays, names):
    path = tmp_path / "w.safetensors"
    safetensors.numpy.save_file(
        {n: np.ascontiguousarray(a) for n, a in arrays.items()}, path
    )
    module = Small()
    before = _leaves(module)
    with pytest.raises(CheckpointError, match=f"{kind}.*{names[0]}") as caught:
        weights.load(module, path)
    assert str(path) in str(caught.value)
    assert [n.split(":")[0] for n in getattr(caught.value, kind)] == names
    jax.tree.map(np.testing.assert_array_equal, _leaves(module), before)


def test_one_error_lists_everything(tmp_path):
    arrays = _fitting() | {"x.weight": np.ones(2, np.float32)}
    arrays["1.weight"] = np.ones(5, np.float32)
    arrays["1.running_var"] = np.full(3, np.inf, np.float32)
    del arrays["0.weight"]
    path = tmp_path / "w.safetensors"
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(CheckpointError) as caught:
        weights.load(Small(), path)
    assert caught.value.missing == ("0.weight",)
    assert caught.value.surplus == ("x.weight",)
    assert caught.value.misshaped == ("1.weight: float32 (5,) for floating (3,)",)
    assert caught.value.nonfinite == ("1.running_var",)


def test_another_network_is_refused_by_name(tmp_path):
    path = tmp_path / "mc3.safetensors"
    models.save(models.mc3_18(num_classes=3), path)
    with pytest.raises(CheckpointError, match=r"does not fit lrcn[^$]*more"):
        models.lrcn(weights=path)


def test_saved_and_loaded_again(tmp_path):
    module = Small()
    module.norm.mean.set_value(jnp.asarray([1.0, 2.0, 3.0], jnp.float32))
    path = tmp_path / "w.safetensors"
    models.save(module, path, metadata={"preset": "mine"})
    arrays = safetensors.numpy.load_file(path)
    assert set(arrays) == {
        *("conv/kernel", "norm/scale", "norm/bias", "norm/mean", "norm/var")
    }
    with safetensors.safe_open(path, "np") as file:
        header = file.metadata()
    assert header["model"] == "small"
    assert header["preset"] == "mine"
    assert header["converter"].startswith("jaxattr ")
    again = jax.tree.map(jnp.zeros_like, module)
    weights.load(again, path)
    jax.tree.map(np.testing.assert_array_equal, _leaves(again), _leaves(module))
    assert os.listdir(tmp_path) == ["w.safetensors"]
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_float64_and_lists_survive_the_round_trip(tmp_path):
    net = models.mc3_18(num_classes=3, seed=4, dtype=jnp.float64)
    models.save(net, tmp_path / "w.safetensors")
    again = models.build("mc3_18", tmp_path / "w.safetensors", dtype=jnp.float64)
    jax.tree.map(np.testing.assert_array_equal, again, net)
    narrow = models.build("mc3_18", tmp_path / "w.safetensors")
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {np.dtype("float32")}


def test_convert_says_where_the_weights_came_from(tmp_path):
    torch.manual_seed(0)
    reference = torchvision.models.video.mc3_18(num_classes=5)
    source, target = tmp_path / "mine.pth", tmp_path / "mine.safetensors"
    torch.save(reference.state_dict(), source)
    models.convert(source, target, model="mc3_18")
    with safetensors.safe_open(target, "np") as file:
        header = file.metadata()
    assert header["source"] == "mine.pth"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert header["source_sha256"] == digest
    first = models.mc3_18(5, source)
    jax.tree.map(np.testing.assert_array_equal, models.mc3_18(5, target), first)
    np.testing.assert_array_equal(first.fc.bias[...], reference.fc.bias.detach())
    with pytest.raises(CheckpointError, match=r"fc\.weight"):
        models.convert(
            source, tmp_path / "no.safetensors", model="mc3_18", num_classes=4
        )
    assert sorted(os.listdir(tmp_path)) == ["mine.pth", "mine.safetensors"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        models.save(Small(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["w.safetensors"]


def _write(path, content):
    path.write_bytes(content)
    return path


def _safetensors(header, data=b""):
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + bytes(20),
        b"\x80",
        b"PK\x03\x04",
        _safetensors({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
        _safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}),
        _safetensors({"a": {"dtype": "X", "shape": [], "data_offsets": [0, 0]}}),
        struct.pack("<Q", 2**62) + b"{}",
    ],
)
def test_broken_files_are_named(tmp_path, content):
    path = _write(tmp_path / "w.pth", content)
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        weights.load(Small(), path)


def test_every_truncated_safetensors_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    models.save(Small(), path)
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        _write(path, data[:length])
        with pytest.raises(CheckpointError):
            weights.load(Small(), path)


def test_a_safetensors_header_may_look_like_a_pickle(tmp_path):
    path = tmp_path / "w.safetensors"
    for padding in range(0, 512, 8):
        models.save(Small(), path, metadata={"note": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    weights.load(Small(), path)


def test_names_and_paths_that_do_not_exist(tmp_path):
    for path in (tmp_path / "none", "none.pth", "folder/none"):
        with pytest.raises(FileNotFoundError, match=r"`weights`.*none"):
            models.r2plus1d_18(weights=path)
    with pytest.raises(CheckpointError, match=r"'kinetics600'.*\['kinetics400'\]"):
        models.r2plus1d_18(weights="kinetics600")
    with pytest.raises(CheckpointError, match="known names: none"):
        models.lrcn(weights="ucf50")
