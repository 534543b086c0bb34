"""Rollout and Chefer's attribution of real architectures, on torch's own maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers_peers as peers

import jaxattr
import jaxattr_models as models

TOKENS = (2, 3, 5)
CLIP = np.random.default_rng(0).normal(size=(4, 12, 15, 3))
TARGET = 3


def port(name, folder):
    peers.peer(name).save_pretrained(folder)
    make = getattr(models, name)
    weights = folder / "model.safetensors"
    return make(peers.CLASSES, weights, dtype=jnp.float64, **peers.SIZES)


@functools.cache
def torchs(name):
    """Attention maps [heads, n, n] of every layer, and the logit's gradients."""
    model = peers.peer(name)
    model.set_attn_implementation("eager")
    pixels = peers.as_pixels(CLIP[None])
    output = model(pixels, output_attentions=True)
    gradients = torch.autograd.grad(output.logits[0, TARGET], output.attentions)
    return [
        (a[0].detach().numpy(), g[0].numpy())
        for a, g in zip(output.attentions, gradients, strict=True)
    ]


@pytest.mark.parametrize("method", ["attention_rollout", "transformer_attribution"])
@pytest.mark.parametrize("name", peers.NAMES)
def test_equal_to_dense_products_of_torchs_maps(name, method, tmp_path):
    cls = int(name == "vivit")
    n = cls + 30
    row = np.eye(n)[0] if cls else np.full(n, 1 / n)
    for a, g in reversed(torchs(name)):
        if method == "attention_rollout":
            row = row @ (a.mean(0) + np.eye(n)) / 2
        else:
            row = row @ (np.eye(n) + np.maximum(a * g, 0).mean(0))
    # The grid of tokens comes from the network's spec.
    net = port(name, tmp_path)
    got = jax.jit(getattr(jaxattr, method)(net))(jnp.asarray(CLIP), TARGET)
    want = row[cls:].reshape(TOKENS)
    np.testing.assert_allclose(got.cells, want, rtol=1e-5, atol=1e-6 * want.max())
    np.testing.assert_allclose(got.class_token, row[0] if cls else 0, rtol=1e-5)


def test_divided_attention_counts_as_two_layers():
    net = models.evidence_transformer(weights=None)
    clip = jnp.asarray(np.random.default_rng(1).normal(size=(16, 56, 56, 3)), "float32")
    got = jaxattr.attention_rollout(net)(clip, 0)
    assert got.cells.shape == (8, 7, 7)
    np.testing.assert_allclose(got.cells.sum(), 1, rtol=1e-5)
    names = [tap.name for tap in jaxattr.list_taps(net, clip)]
    maps = [name for name in names if name.startswith("attention_map")]
    assert maps == [f"attention_map#{i}" for i in range(4)]  # Time, space, time, space.


@pytest.mark.parametrize("name", peers.NAMES)
@pytest.mark.slow
def test_relevance_goes_through(name, tmp_path):
    net, clip = port(name, tmp_path), jnp.asarray(CLIP)
    got = jaxattr.lrp(net)(clip, TARGET)
    assert np.isfinite(got.values).all()
    assert np.abs(got.values).max() > 0
    weighed = jaxattr.transformer_attribution(net, weighing="relevance")(clip, TARGET)
    assert np.isfinite(weighed.cells).all()
    assert np.ptp(weighed.cells) > 0
