"""The gradient filter against torch, a hand-written scan and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr.program import trace
from jaxattr.rules import gradient_filter
from jaxattr.rules._non_linearities import non_linearities

RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=(2, 3, 5, 4))
E = CLIP * RNG.uniform(-0.3, 1.3, CLIP.shape)  # Some units rise, some turn round.
W1, W2, W3 = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 7)), RNG.normal(size=(7, 3))


def network(clip):
    x = jax.nn.gelu(clip @ W1, approximate=False)
    x = jnp.tanh(jax.nn.relu(x @ W2))
    return jax.nn.elu(x @ W3).mean((0, 1, 2))


class Filter(torch.autograd.Function):
    @staticmethod
    def forward(context, h, bound):
        context.save_for_backward((bound.clamp(max=0) <= h) & (h <= bound.clamp(min=0)))
        return h.clone()

    @staticmethod
    def backward(context, g):
        return g * context.saved_tensors[0], None


def torchs(clip, bounds):
    """The network in torch; its activations, each filtered by one of `bounds`."""
    layers = [
        lambda x: torch.nn.functional.gelu(x @ torch.tensor(W1)),
        lambda x: torch.relu(x @ torch.tensor(W2)),
        torch.tanh,
        lambda x: torch.nn.functional.elu(x @ torch.tensor(W3)),
    ]
    x, seen = clip, []
    for i, layer in enumerate(layers):
        x = layer(x)
        seen.append(x.detach())
        x = x if bounds is None else Filter.apply(x, bounds[i])
    return x.mean((0, 1, 2)), seen


def test_equal_to_torch():
    e = torch.tensor(E, requires_grad=True)
    _, bounds = torchs(torch.tensor(CLIP), None)
    output, _ = torchs(e, bounds)
    (want,) = torch.autograd.grad(output[1], e)
    filtered = gradient_filter(network, CLIP)
    value, got = jax.jit(jax.value_and_grad(lambda e: filtered(e)[1]))(E)
    np.testing.assert_allclose(value, output[1].item(), rtol=1e-9)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-9, atol=1e-12)
    plain = jax.grad(lambda e: network(e)[1])(E)
    assert (np.abs(np.asarray(plain) - got) > 1e-3).mean() > 0.3


def test_at_the_clip_itself_nothing_is_filtered():
    for dtype in (jnp.float32, jnp.float64):
        clip = jnp.asarray(CLIP, dtype)
        weights = [jnp.asarray(w, dtype) for w in (W1, W2)]

        def f(clip, weights=weights):
            return jnp.tanh(jax.nn.relu(clip @ weights[0]) @ weights[1]).sum()

        got = jax.jit(jax.grad(gradient_filter(f, clip)))(clip)
        np.testing.assert_allclose(got, jax.grad(f)(clip), rtol=1e-5, atol=1e-5)


def test_units_are_bounded_one_by_one_in_a_scan():
    def cell(h, frame):
        h = jnp.tanh(h @ W2[:, :6] + frame.mean((0, 1)) @ W1)
        return h, h

    def recurrent(clip):
        return lax.scan(cell, jnp.zeros(6), clip)[0].sum()

    def by_hand(e):
        bounds = lax.scan(cell, jnp.zeros(6), CLIP)[1]

        def step(h, frame_and_bound):
            frame, bound = frame_and_bound
            h, _ = cell(h, frame)
            inside = (jnp.minimum(bound, 0) <= h) & (h <= jnp.maximum(bound, 0))
            return jnp.where(inside, h, lax.stop_gradient(h)), None

        return lax.scan(step, jnp.zeros(6), (e, bounds))[0].sum()

    got = jax.grad(gradient_filter(recurrent, jnp.asarray(CLIP)))(jnp.asarray(E))
    want = jax.grad(by_hand)(jnp.asarray(E))
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize(
    ("activation", "count"),
    [
        (jax.nn.relu, 1),
        (jax.nn.gelu, 1),
        (lambda x: jax.nn.gelu(x, approximate=False), 1),
        (jax.nn.silu, 1),
        (jax.nn.elu, 1),
        (jax.nn.softplus, 1),
        (jax.nn.mish, 1),
        (jax.nn.sigmoid, 1),
        (lambda x: jax.nn.leaky_relu(jnp.tanh(x)), 2),
        (lambda x: x * jax.nn.sigmoid(x @ W2[:, :6]), 1),  # A gate of something else.
        (jax.nn.softmax, 0),
        (lambda x: x * lax.rsqrt((x * x).mean(-1, keepdims=True)), 0),
        (lambda x: x + x * 2.0, 0),
    ],
)
def test_each_non_linearity_counts_once(activation, count):
    traced = trace(lambda clip: activation(clip @ W1), CLIP)
    assert len(non_linearities(traced)) == count


def test_layers_keep_their_names_behind_the_filter():
    def f(clip):
        cells = checkpoint_name(jax.nn.relu(clip @ W1), "cells")
        return jnp.tanh(cells @ W2).mean((0, 1, 2))

    # At the clip itself nothing is filtered.
    filtered = gradient_filter(f, CLIP)
    got = jaxattr.grad_cam(filtered, "cells", relu=False)(CLIP, 1).values
    want = jaxattr.grad_cam(f, "cells", relu=False)(CLIP, 1).values
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_bad_input_is_named():
    with pytest.raises(TypeError, match="`f` must be a callable"):
        gradient_filter(3, CLIP)
    with pytest.raises(ValueError, match="`f` has no non-linearity"):
        gradient_filter(lambda clip: (clip @ W1).sum(), CLIP)(E)
    with pytest.raises(ValueError, match="`clip` must be like the one"):
        gradient_filter(network, CLIP)(E[:1])
