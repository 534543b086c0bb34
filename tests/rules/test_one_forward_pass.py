"""Methods with rules under `vmap` over targets, and on bfloat16 networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import jaxprs_in_params

import jaxattr

SHAPE, TARGETS = (3, 4, 6, 2), 7
W, V = (np.random.default_rng(i).normal(size=s) for i, s in enumerate(((2, 5), (5, 9))))
CLIP = np.random.default_rng(2).normal(size=SHAPE)
METHODS = {
    "lrp": {},
    "deep_taylor": {"low": -9, "high": 9},
    "deep_lift": {},
    "excitation_backprop": {"layer": "cells"},
}


def network(clip):
    """Its forward pass alone takes a maximum and an exponential of cells."""
    w, v = (jnp.asarray(a, clip.dtype) for a in (W, V))
    cells = checkpoint_name(jnp.maximum(clip @ w, 0), "cells")
    return jax.nn.elu(cells).mean((0, 1, 2)) @ v


def shapes(jaxpr, primitive):
    """Of all results of a primitive, at any depth."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == primitive:
            yield eqn.outvars[0].aval.shape
        for body in jaxprs_in_params(eqn.params):
            yield from shapes(body, primitive)


@pytest.mark.parametrize("name", METHODS)
def test_targets_share_a_forward_pass(name):
    explain = getattr(jaxattr, name)(network, **METHODS[name])
    clip, targets = jnp.asarray(CLIP), jnp.arange(TARGETS)
    mapped = jax.vmap(lambda clip, target: explain(clip, target).values, (None, 0))
    program = jax.make_jaxpr(mapped)(clip, targets).jaxpr
    products = list(shapes(program, "dot_general"))
    assert products.count((*SHAPE[:3], 5)) >= 1
    assert (TARGETS, *SHAPE[:3], 5) not in list(shapes(program, "expm1"))
    assert list(shapes(program, "expm1"))
    got = mapped(clip, targets)
    for target in (0, 4):
        want = explain(clip, target).values
        np.testing.assert_allclose(got[target], want, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    "name",  # Two are worked out by hand in test_bfloat16.py.
    [
        *("deep_taylor", "deep_lift"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("lrp", "excitation_backprop")
        ),
    ],
)
def test_relevance_is_float32_in_a_bfloat16_network(name):
    """And the same as of that network in float32, but for its rounded values."""
    explain = getattr(jaxattr, name)(network, **METHODS[name])
    clip = jnp.asarray(CLIP, jnp.bfloat16)
    target = int(network(clip).argmax())
    got = explain(clip, target).values
    assert got.dtype == jnp.float32
    want = explain(clip.astype(jnp.float32), target).values
    error = np.abs(got - want).mean() / np.abs(want).mean()
    assert 0 < error < 0.05
