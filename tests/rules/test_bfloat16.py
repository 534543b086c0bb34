"""Rules on a bfloat16 network: its own values forward, float32 backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr.program import trace

SHAPE = (4, 6, 8, 3)
HALF = jnp.bfloat16
RNG = np.random.default_rng(13)


def weights(*shape):
    return jnp.asarray(RNG.normal(size=shape), HALF)


FIRST, LAST, BIAS = weights(3, 5), weights(5, 2), weights(5)


def perceptron(clip):
    cells = checkpoint_name(clip, "cells")
    return jax.nn.relu(cells.mean((0, 1, 2)) @ FIRST + BIAS) @ LAST


def by_hand(clip):
    """Inputs of the layers, rounded where the network rounds; the rest in float64."""
    x = np.asarray(clip, np.float32).mean((0, 1, 2)).astype(HALF).astype(np.float64)
    first, last = (np.asarray(w, np.float64) for w in (FIRST, LAST))
    product = (x @ first).astype(HALF).astype(np.float64)
    hidden = (product + np.asarray(BIAS, np.float64)).astype(HALF).astype(np.float64)
    return x, np.maximum(hidden, 0), first, last


def test_values_are_rounded_as_the_network_does_and_relevance_is_not():
    positive = np.abs(np.random.default_rng(1).normal(size=SHAPE))
    clip = jnp.asarray(positive, HALF)
    a = np.asarray(clip, np.float64)
    x, hidden, first, last = by_hand(clip)
    bias = np.asarray(BIAS, np.float64)
    logit = float((hidden @ last).astype(HALF)[1])
    kept = hidden > 0
    assert 1 < kept.sum() < kept.size

    def spread(at_x):
        """To the cells of a mean, by their shares."""
        return a * at_x / a.sum((0, 1, 2))

    up, excite = np.maximum(last[:, 1], 0), np.maximum(first, 0)
    p = hidden * up / (hidden @ up)
    # Relevance counts the positive part of a bias, excitation does not.
    r = spread(x * (excite @ (logit * p / (x @ excite + np.maximum(bias, 0)))))
    p = spread(x * (excite @ (p / (x @ excite)))).sum(-1)
    size = np.prod(SHAPE[:3])
    got = {
        "excitation_backprop": (p, {"layer": "cells"}),
        "lrp": (r, {"rules": "z_plus", "epsilon": 0.0}),
        "guided_backprop": (np.broadcast_to(first @ (up * kept) / size, SHAPE), {}),
        "deconvnet": (np.broadcast_to(first @ up / size, SHAPE), {}),
    }
    for name, (want, settings) in got.items():
        explain = getattr(jaxattr, name)(perceptron, **settings)
        values = np.asarray(explain(clip, 1).values)
        assert values.dtype == np.float32
        limit = 3e-6 * np.abs(want).max()
        np.testing.assert_allclose(values, want, rtol=0, atol=limit, err_msg=name)
    np.testing.assert_array_equal(
        jaxattr.lrp(perceptron)(clip, 1).score, perceptron(clip)[1]
    )


def test_deep_lift_in_two_layers_by_hand():
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE), HALF)
    _, _, first, last = by_hand(clip)
    x = np.asarray(clip, np.float32).mean((0, 1, 2)).astype(HALF).astype(np.float64)
    z = (x @ first).astype(HALF).astype(np.float64) + np.asarray(BIAS, np.float64)
    path = np.asarray(clip, np.float64) - 0.375  # What differs from the baseline.
    move = path.mean((0, 1, 2)) @ first
    slope = (np.maximum(z, 0) - np.maximum(z - move, 0)) / move
    assert ((slope > 0) & (slope < 1)).any()
    want = path * (first @ (slope * last[:, 1])) / np.prod(SHAPE[:3])
    for rule in ("rescale", "reveal_cancel"):
        got = jaxattr.deep_lift(perceptron, baseline=0.375, rule=rule)(clip, 1)
        assert got.values.dtype == got.change.dtype == jnp.float32
        if rule == "rescale":
            limit = 3e-6 * np.abs(want).max()
            np.testing.assert_allclose(got.values, want, rtol=0, atol=limit)
    change = perceptron(clip)[1] - perceptron(jnp.full_like(clip, 0.375))[1]
    np.testing.assert_allclose(got.change, change.astype(jnp.float32), atol=2e-2)


KERNEL, BRANCH, STEP = weights(3, 3, 3, 3, 4), weights(4, 4), weights(4, 4)
HEAD = weights(4, 5)


def widened_network(clip):
    """The same network of numbers that are not rounded."""
    return network(clip, *(w.astype(jnp.float32) for w in (KERNEL, BRANCH, STEP, HEAD)))


def network(clip, kernel=KERNEL, branch=BRANCH, step_weights=STEP, head=HEAD):
    """Convolution, statistics, pool, residual, `jit`, `checkpoint` and `scan`."""
    half = kernel.dtype
    x = checkpoint_name(jnp.abs(clip), "cells")[None]
    x = lax.conv_general_dilated(
        x, kernel, (2, 1, 2), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )
    # As Flax does: statistics in float32 between bfloat16 layers.
    x = jax.nn.relu((x.astype(jnp.float32) * jnp.float32(1.2345678)).astype(half))
    x = lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 1, 2, 2, 1), (1, 1, 2, 2, 1), "VALID"
    )
    x = jax.jit(lambda x: jax.nn.relu(x + x @ branch))(x)
    rows = jax.checkpoint(lambda x: jax.nn.relu(x @ branch.T))(x)[0].mean((1, 2))

    def step(state, row):
        return jnp.maximum(row + state @ step_weights, 0), None

    state, _ = lax.scan(step, jnp.zeros(4, half), rows)
    return state @ head


CLIP = jnp.asarray(np.random.default_rng(2).normal(size=SHAPE), HALF)
TARGET = int(network(CLIP).argmax())


@pytest.mark.slow
def test_the_score_is_the_network_s_and_relevance_keeps_its_sum():
    logits = network(CLIP)  # One operation after the other: in a `jit` XLA rounds less.
    got = jaxattr.lrp(network, "z_plus")(CLIP, TARGET)
    np.testing.assert_array_equal(got.score, logits[TARGET].astype(jnp.float32))
    assert got.values.dtype == jnp.float32
    assert abs(got.residual) < 3e-6 * got.score
    got = jaxattr.excitation_backprop(network, "cells")(CLIP, TARGET)
    assert got.values.dtype == jnp.float32
    assert abs(got.cells.sum() - 1) < 3e-6


@pytest.mark.slow
def test_deep_lift_is_that_of_the_unrounded_network_but_for_its_rounding():
    got = jaxattr.deep_lift(network)(CLIP, TARGET)
    assert got.values.dtype == jnp.float32
    assert abs(got.residual) < 2e-2 * abs(got.change)
    want = jaxattr.deep_lift(widened_network)(CLIP.astype(jnp.float32), TARGET)
    error = np.abs(np.asarray(got.values) - want.values)
    assert error.mean() < 2e-2 * np.abs(np.asarray(want.values)).mean()


def test_a_network_in_float32_is_left_alone():
    first = FIRST.astype(jnp.float32)

    def f(clip):
        return jax.nn.relu(clip.mean((0, 1, 2)) @ first)

    clip = CLIP.astype(jnp.float32)
    network = trace(f, clip)
    none = jax.make_jaxpr(network.widened(lambda *_: None))(clip)
    assert str(none) == str(jax.make_jaxpr(network.under(lambda *_: None))(clip))
