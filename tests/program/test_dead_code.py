"""What the output of a network does not depend on is no part of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr.program import trace

RNG = np.random.default_rng(0)
CLIP = jnp.asarray(RNG.normal(size=(2, 3, 4, 3)))
KERNEL, HEAD = RNG.normal(size=(3, 5)), RNG.normal(size=(5, 4))
SECOND = RNG.normal(size=(5, 6))


def one_head(clip):
    x = checkpoint_name(jax.nn.relu(clip @ KERNEL), "layer")
    return x.mean((0, 1, 2)) @ HEAD


def two_heads(clip):
    x = checkpoint_name(jax.nn.relu(clip @ KERNEL), "layer")
    pooled = x.mean((0, 1, 2))
    logits = pooled @ HEAD
    return logits, jnp.sort(pooled @ SECOND)


def in_a_call(clip):
    return jax.jit(two_heads)(clip)[0]


def in_a_loop(clip):
    def step(unused, row):
        logits, other = two_heads(row[None])
        return unused + other, logits

    return lax.scan(step, jnp.zeros(6), clip)[1].mean(0)


LAYER = {"layer": "layer"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cam", LAYER),
        ("lrp", {}),
        ("deep_taylor", {}),
        ("deep_lift", {}),
        ("excitation_backprop", {**LAYER, "contrastive": True}),
    ],
)
def test_an_unused_head_changes_nothing(name, settings):
    got, want = (
        getattr(jaxattr, name)(f, **settings)(CLIP, 1)
        for f in (lambda clip: two_heads(clip)[0], one_head)
    )
    assert np.any(want.values)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("f", [in_a_call, in_a_loop])
def test_it_is_found_in_bodies(f):
    got, want = (jaxattr.lrp(f)(CLIP, 1) for f in (f, one_head))
    np.testing.assert_allclose(got.values, want.values, atol=1e-6)


def test_side_effects_and_what_is_used_stay(capfd):
    def f(clip):
        seen = checkpoint_name(clip.sum(), "sum")
        jax.debug.print("the sum is {}", seen)
        checkpoint_name(clip.max(), "unused")
        return one_head(clip)

    network = trace(f, CLIP)
    output, taps = jax.jit(network.tapped)(CLIP)
    jax.effects_barrier()
    assert "the sum is" in capfd.readouterr().out
    assert set(taps) == {"sum", "layer"}
    np.testing.assert_array_equal(output, jax.jit(one_head)(CLIP))
