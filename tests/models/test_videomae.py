"""What VideoMAE has of its own; its parity is tested in `test_vit.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import transformers
import transformers_peers as peers
from transformers.models.videomae import modeling_videomae

import jaxattr_models as models
from jaxattr_models.videomae import _positions

_SMALL = {"width": 12, "depth": 1, "heads": 2, "hidden": 3}


def test_spec_is_the_published_preprocessing():
    spec = models.videomae(**_SMALL).spec
    config = transformers.VideoMAEConfig()
    assert (spec.num_frames, spec.size) == (config.num_frames, (224, 224))
    assert spec.size == (config.image_size,) * 2
    assert (spec.tokens, spec.class_token) == ((8, 14, 14), False)
    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (spec.resize, spec.fps, spec.sampling) == (224, 7.5, "centre")
    assert len(spec.labels) == 400


@pytest.mark.parametrize(("count", "width"), [(1568, 768), (30, 21)])
def test_positions_are_the_originals(count, width):
    expected = modeling_videomae.get_sinusoid_encoding_table(count, width)
    np.testing.assert_array_equal(_positions(count, width), expected)


def test_the_file_spells_names_as_published(tmp_path):
    peers.peer("videomae").save_pretrained(tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    prefix = "videomae.encoder.layer.1.attention.attention."
    names = {n.removeprefix(prefix) for n in arrays if n.startswith(prefix)}
    weights = {"query.weight", "key.weight", "value.weight"}
    assert names == weights | {"q_bias", "v_bias"}


def test_another_number_of_frames_takes_the_same_file(tmp_path):
    peers.peer("videomae").save_pretrained(tmp_path)
    sizes = peers.SIZES | {"num_frames": 6}
    net = models.videomae(peers.CLASSES, tmp_path / "model.safetensors", **sizes)
    assert net.spec.tokens == (3, 3, 5)
    clip = jax.ShapeDtypeStruct((6, 12, 15, 3), jnp.float32)
    assert jax.eval_shape(net, clip).shape == (peers.CLASSES,)
