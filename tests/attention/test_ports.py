"""Rollout and Chefer's attribution of real architectures, on torch's own maps."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers_peers as peers
from flax import nnx
from jax import lax

import jaxattr
import jaxattr_models as models
from jaxattr.rules import Epsilon
from jaxattr_models._vit import LayerNorm

# The function of that name hides the module.
VIDEOMAE = sys.modules["jaxattr_models.videomae"]
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


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("vivit", "attention_rollout"),
        ("videomae", "transformer_attribution"),
        # A class token and either product are in the rows above.
        pytest.param("vivit", "transformer_attribution", marks=pytest.mark.slow),
        pytest.param("videomae", "attention_rollout", marks=pytest.mark.slow),
    ],
)
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


@pytest.mark.slow
def test_divided_attention_counts_as_two_layers(monkeypatch):
    net = models.evidence_transformer(weights=None)
    clip = jnp.asarray(np.random.default_rng(1).normal(size=(16, 56, 56, 3)), "float32")
    got = jaxattr.attention_rollout(net)(clip, 0)
    seen = []
    with monkeypatch.context() as patch:
        softmax = nnx.softmax
        patch.setattr(nnx, "softmax", lambda x: seen.append(softmax(x)) or seen[-1])
        net(clip)
    row, token = np.full(392, 1 / 392), np.arange(392).reshape(8, 49)
    for a in reversed(seen):
        full, a = np.zeros((392, 392)), np.asarray(a[0], np.float64).mean(1)
        groups = token.T if len(a) == 49 else token  # All times of a place, or back.
        for group, one in zip(groups, a, strict=True):
            full[np.ix_(group, group)] = one
        row = row @ (full + np.eye(392)) / 2
    np.testing.assert_allclose(got.cells, row.reshape(8, 7, 7), rtol=1e-5)
    assert np.ptp(row) > 1e-2 * row.max()
    names = [tap.name for tap in jaxattr.list_taps(net, clip)]
    maps = [name for name in names if name.startswith("attention_map")]
    assert maps == [f"attention_map#{i}" for i in range(4)]  # Time, space, time, space.


def frozen_norm(self, x):
    """A layer norm whose deviation has no derivative."""
    x = x - x.mean(-1, keepdims=True)
    x = x * lax.stop_gradient(lax.rsqrt((x * x).mean(-1, keepdims=True) + self.epsilon))
    before = tuple(range(x.ndim - 1))
    scale, bias = (jnp.expand_dims(p[...], before) for p in (self.scale, self.bias))
    return x * scale + bias


def halved(text, a, b, einsum=jnp.einsum):
    """A product that gives half of the derivative to each factor."""
    still = lax.stop_gradient
    return (einsum(text, a, still(b)) + einsum(text, still(a), b)) / 2


def straight(x, approximate, gelu=nnx.gelu):
    """A gelu with the slope of the line from 0."""
    return x * lax.stop_gradient(gelu(x, approximate=approximate) / x)


@pytest.mark.parametrize("name", peers.NAMES)
@pytest.mark.slow
def test_relevance_is_gradient_times_input_with_other_derivatives(
    name, tmp_path, monkeypatch
):
    net, clip = port(name, tmp_path), jnp.asarray(CLIP)
    got = jaxattr.lrp(net, Epsilon(0.0), epsilon=0.0)(clip, TARGET)
    plain = np.asarray(clip * jax.grad(lambda clip: net(clip)[TARGET])(clip))
    softmax, positions = nnx.softmax, VIDEOMAE._positions
    graph, state = nnx.split(net)

    def logit(clip, of_constants, of_maps, of_scores):
        """With all that is added, all maps and all their scores times 1 + something."""

        def grown(path, leaf):
            words = jax.tree_util.keystr(path)
            weighs = "kernel" in words or "scale" in words
            return leaf if weighs else leaf * (1 + of_constants)

        with monkeypatch.context() as patch:
            patch.setattr(LayerNorm, "__call__", frozen_norm)
            patch.setattr(jnp, "einsum", halved)
            patch.setattr(nnx, "gelu", straight)
            patch.setattr(
                nnx, "softmax", lambda s: (1 + of_maps) * softmax((1 + of_scores) * s)
            )
            table = lambda *n: positions(*n).astype(float) * (1 + of_constants)
            patch.setattr(VIDEOMAE, "_positions", table)
            state_of = jax.tree_util.tree_map_with_path(grown, state)
            return nnx.merge(graph, state_of)(clip)[TARGET]

    zeros = (jnp.zeros(()),) * 3
    np.testing.assert_allclose(logit(clip, *zeros), got.score, rtol=1e-9)
    gradient, *lost = jax.grad(logit, range(4))(clip, *zeros)
    want = clip * gradient
    size = np.abs(want).max()
    assert np.abs(want - plain).max() > 0.1 * size
    np.testing.assert_allclose(got.values, want, rtol=1e-6, atol=1e-9 * size)
    # What does not arrive: shares of constants, and what a soft-max does not hand on.
    constants, maps, scores = map(float, lost)
    assert min(abs(constants), abs(maps - scores)) > 1e-3 * abs(got.score)
    np.testing.assert_allclose(
        got.values.sum(), got.score - constants - (maps - scores), rtol=1e-6
    )


@pytest.mark.parametrize("name", peers.NAMES)
@pytest.mark.slow
def test_attribution_weighed_by_relevance_goes_through(name, tmp_path):
    net, clip = port(name, tmp_path), jnp.asarray(CLIP)
    weighed = jaxattr.transformer_attribution(net, weighing="relevance")(clip, TARGET)
    assert np.isfinite(weighed.cells).all()
    assert np.ptp(weighed.cells) > 0
