"""What ViViT has of its own; its parity is tested in `test_vit.py`."""

import numpy as np
import safetensors.numpy
import transformers
import transformers_peers as peers

import jaxattr_models as models

_SMALL = {"width": 12, "depth": 1, "heads": 2, "hidden": 3}


def test_spec_is_the_published_preprocessing():
    spec = models.vivit(**_SMALL).spec
    config = transformers.VivitConfig()
    assert (spec.num_frames, spec.size) == (config.num_frames, (224, 224))
    assert spec.size == (config.image_size,) * 2
    assert (spec.tokens, spec.class_token) == ((16, 14, 14), True)
    pixels = (np.array([0.0, 127.5, 255.0]) * spec.scale - spec.mean) / spec.std
    np.testing.assert_allclose(pixels, [-1, 0, 1], atol=1e-12)
    assert (spec.resize, spec.fps, spec.sampling) == (256, 12.5, "centre")
    # As the original answers for its clip of somebody eating spaghetti.
    assert spec.labels[116] == "eating spaghetti"
    assert models.vivit(5, **_SMALL).spec.labels == ()
    assert models.vivit(size=(32, 48), **_SMALL).spec.resize is None


def test_the_file_spells_names_as_published(tmp_path):
    peers.peer("vivit").save_pretrained(tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    block = {
        name.removeprefix("vivit.encoder.layer.1.").rpartition(".")[0]
        for name in arrays
        if name.startswith("vivit.encoder.layer.1.")
    }
    assert block == {
        *("attention.attention.query", "attention.attention.key"),
        *("attention.attention.value", "attention.output.dense"),
        *("intermediate.dense", "output.dense"),
        *("layernorm_before", "layernorm_after"),
    }
    live = set(peers.peer("vivit").state_dict())
    assert "vivit.layers.1.attention.q_proj.bias" in live
    assert "vivit.layers.1.mlp.fc1.bias" in live
