"""Every spelling of a ReLU, under a backward rule, against the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxattr
from jaxattr.program import trace
from jaxattr.rules._rectifier import rectified

X = jnp.asarray([-2.0, -0.5, 0.5, 3.0, 7.0])
W = jnp.asarray([2.0, -1.0, 3.0, -4.0, 5.0])

ZERO, ZEROS = jnp.zeros(()), np.zeros(5)  # A plain function closes over them.

SPELLINGS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum, turned": lambda x: jnp.maximum(0.0, x),
    "lax.max with zeros": lambda x: lax.max(x, jnp.zeros_like(x)),
    "clip": lambda x: jnp.clip(x, 0),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "where with zeros": lambda x: jnp.where(x >= 0, x, jnp.zeros_like(x)),
    "where, turned": lambda x: jnp.where(x < 0, 0, x),
    "where, number first": lambda x: jnp.where(x > 0, x, 0),
    "where, not": lambda x: jnp.where(~(x > 0), 0, x),
    "times mask": lambda x: x * (x > 0),
    "select": lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
    "select, full": lambda x: lax.select(x > 0, x, lax.full_like(x, 0)),
    "fmax": lambda x: jnp.fmax(x, 0),
    "fmax, turned": lambda x: jnp.fmax(0, x),
    "times heaviside": lambda x: x * jnp.heaviside(x, 0),
    "times a step": lambda x: jnp.where(x < 0, 0.0, 1.0) * x,
    "closed-over number": lambda x: jnp.maximum(x, ZERO),
    "closed-over zeros": lambda x: jnp.maximum(ZEROS, x),
    "closed-over, where": lambda x: jnp.where(x > ZEROS, x, ZERO),
    "closed-over, clip": lambda x: jnp.clip(x, ZERO),
    "custom_vmap": jax.custom_batching.sequential_vmap(lambda x: jnp.maximum(x, 0)),
    "bfloat16 inside": lambda x: jnp.maximum(x.astype(jnp.bfloat16), 0).astype(x.dtype),
    "nested": lambda x: jax.jit(jax.jit(jax.nn.relu))(x),
    "checkpoint": jax.checkpoint(jax.nn.relu),
    "vmap": jax.vmap(jax.nn.relu),
    "scan": lambda x: lax.scan(lambda c, r: (c, jax.nn.relu(r)), 0, x)[1],
    "carry": lambda x: lax.scan(lambda c, r: (jax.nn.relu(c), None), x, jnp.ones(1))[0],
    "cond": lambda x: lax.cond(x[0] < 0, jax.nn.relu, jnp.tanh, x),
}


def gradient(f, rule=None):
    network = trace(f, X)
    network = network if rule is None else network.under(rule)
    return jax.grad(lambda x: (W * network(x)).sum())(X)


@pytest.mark.parametrize("name", SPELLINGS)
def test_relu_in_every_spelling(name, loose_promotion):
    f = SPELLINGS[name]
    network = trace(f, X).under(rectified(lambda slope, g: jnp.maximum(g, 0) * slope))
    np.testing.assert_array_equal(network(X), f(X))
    got = gradient(f, rectified(lambda slope, g: jnp.maximum(g, 0) * slope))
    np.testing.assert_array_equal(got, np.maximum(W, 0) * (X > 0))
    got = gradient(f, rectified(lambda slope, g: jnp.maximum(g, 0)))
    np.testing.assert_array_equal(got, np.maximum(W, 0))


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (jax.nn.relu6, [0, 0, 1, 1, 0]),
        (lambda x: jnp.clip(x, 0, 6), [0, 0, 1, 1, 0]),
        (jax.nn.leaky_relu, [0.01, 0.01, 1, 1, 1]),
        (lambda x: jnp.maximum(x, 0.25 * x), [0.25, 0.25, 1, 1, 1]),
        (lambda x: jnp.where(x > 0, x, 0.5 * x), [0.5, 0.5, 1, 1, 1]),
    ],
)
def test_relatives_keep_their_slopes(f, derivative, loose_promotion):
    rule = rectified(lambda slope, g: jnp.maximum(g, 0) * slope)
    np.testing.assert_array_equal(trace(f, X).under(rule)(X), f(X))
    want = np.maximum(W, 0) * np.asarray(derivative)
    np.testing.assert_allclose(gradient(f, rule), want, rtol=1e-6)
    np.testing.assert_allclose(gradient(f), W * np.asarray(derivative), rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        jnp.tanh,
        jax.nn.softmax,
        lambda x: jnp.maximum(x, 1.0),
        lambda x: jnp.maximum(x, x[::-1]),
        lambda x: jnp.maximum(x, 0.25 * x[::-1]),
        lambda x: jnp.where(x > 0, x, 1.0),
        lambda x: jnp.where(x > 1, x, 0.0),
        lambda x: jnp.where(x[::-1] > 0, x, 0.0),
        lambda x: x * (x[::-1] > 0),
        lambda x: x * jnp.where(x > 0, 0.0, 1.0),
        lambda x: x * jnp.where(x > 0, 1.0, 0.5),
        lambda x: jnp.maximum(x, np.array([0.0, 0, 1, 0, 0])),
        lambda x: x + jnp.maximum(jnp.arange(5.0), 0),
    ],
)
def test_what_is_no_relu_keeps_its_derivative(f, loose_promotion):
    rule = rectified(lambda slope, g: 100 + g)
    np.testing.assert_allclose(gradient(f, rule), gradient(f), rtol=1e-13)
    with pytest.raises(ValueError, match=r"`f` has no ReLU.*guided"):
        jaxattr.guided_backprop(lambda c: f(c[0, 0, 0]))(X.reshape(1, 1, 1, 5), 1)


def test_the_worked_example():
    """Two inputs, three hidden units, one output; all numbers by hand."""
    w = jnp.asarray([[1.0, -2.0], [-1.0, 1.0], [2.0, 1.0]])
    head = jnp.asarray([1.0, 2.0, -1.0])

    def f(clip):
        return (head @ jax.nn.relu(w @ clip.ravel()))[None]

    clip = jnp.asarray([3.0, 1.0]).reshape(1, 1, 1, 2)
    assert f(clip)[0] == -6
    for method, want in (
        (jaxattr.saliency, [-1, -3]),
        (jaxattr.deconvnet, [-1, 0]),
        (jaxattr.guided_backprop, [1, -2]),
    ):
        np.testing.assert_allclose(method(f)(clip, 0).values.ravel(), want)


def test_one_relu_used_twice_a_residual_and_a_scan():
    """Against the unrolled network, propagated backward by hand in float64."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(6, 6)) for _ in range(2))
    relu = jax.jit(lambda x: jnp.maximum(x, 0))

    def f(clip):
        x = clip.reshape(4, 6)

        def step(h, row):
            h = relu(jnp.asarray(a) @ h + row)
            h = relu(h + jnp.asarray(b) @ h)
            return h, None

        return jax.lax.scan(step, jnp.zeros(6, x.dtype), x)[0]

    clip = jnp.asarray(rng.normal(size=(4, 1, 2, 3)))
    xs, h, record = np.asarray(clip).reshape(4, 6), np.zeros(6), []
    for row in xs:
        z1 = a @ h + row
        h1 = np.maximum(z1, 0)
        z2 = h1 + b @ h1
        h = np.maximum(z2, 0)
        record.append((z1, z2))
    target = int(np.argmax(h))
    g, want = np.eye(6)[target], np.zeros_like(xs)
    for t in reversed(range(4)):
        z1, z2 = record[t]
        g = np.maximum(g, 0) * (z2 > 0)
        g = g + b.T @ g
        g = np.maximum(g, 0) * (z1 > 0)
        want[t] = g
        g = a.T @ g
    got = jaxattr.guided_backprop(f)(clip, target).values
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(got.reshape(4, 6), want, rtol=1e-12)
