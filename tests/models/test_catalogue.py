"""The table of networks says what building them shows."""

import importlib
import sys

import jax
import numpy as np
import pytest
from flax import nnx

import jaxattr_models as models
from jaxattr_models import _extras


class _Zeros:
    """In place of a generator: hundreds of millions of numbers that nobody reads."""

    def standard_normal(self, shape, dtype):
        return np.zeros(shape, dtype)


@pytest.mark.parametrize("name", models.models())
def test_a_row_is_true(name, monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Zeros())
    row = models.models()[name]
    net = models.build(name)
    assert net.name == name
    assert (net.spec.num_frames, *net.spec.size) == row.clip
    parameters = jax.tree.leaves(nnx.state(net, nnx.Param))
    assert sum(leaf.size for leaf in parameters) == row.num_parameters
    leaves = {
        "/".join(map(str, key)): variable.shape
        for key, variable in nnx.to_flat_state(nnx.state(net))
    }
    assert leaves[row.head] == (row.num_classes,)
    assert len(net.spec.labels) == row.num_classes


def test_the_number_of_classes_is_the_files(tmp_path):
    path = tmp_path / "lrcn.safetensors"
    models.save(models.lrcn(num_classes=6, seed=1), path)
    net = models.build("lrcn", path)
    assert net.dense.bias.shape == (6,)
    assert models.build("lrcn", num_classes=2).dense.bias.shape == (2,)
    again = models.lrcn(num_classes=6, seed=1)
    jax.tree.map(np.testing.assert_array_equal, net, again)


def test_unknown_networks_list_the_known():
    with pytest.raises(ValueError, match=r"`name`.*'r2plus1d_18'.*'i3d'"):
        models.build("i3d")
    with pytest.raises(ValueError, match="Did you mean 'evidence_lstm'"):
        models.build("evidense_lstm")


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(
        ImportError, match=r"needs flax: pip install 'jaxattr\[models\]'"
    ):
        importlib.reload(_extras)
