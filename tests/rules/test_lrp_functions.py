"""What is a non-linearity to relevance, and what it hands on, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxattr
from jaxattr.program import trace
from jaxattr.rules import Epsilon
from jaxattr.rules._rectifier import rectifier
from jaxattr.rules._relevance import Relevance

X = np.array([-4.0, -1.5, -0.2, 0.3, 0.9, 2.5, 7.0])
R = np.array([0.2, -0.3, 0.5, 0.7, -1.1, 0.4, 0.6])
SLOPES = jnp.asarray([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def relevance(f, given=X, r=R, dtype=None):
    """What a function hands back of the relevance r of its result."""
    given = jax.tree.map(lambda x: jnp.asarray(x, dtype), given)
    network = trace(f, given, fold=False)
    rule = Relevance(network, lambda eqn: Epsilon(0.0), 0.0)
    if dtype is None:
        return jax.vjp(network.under(rule), given)[1](jnp.asarray(r))[0]
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), given)
    pull = jax.vjp(network.widened(rule), wide)[1]
    return pull(jnp.asarray(r, jnp.float32))[0]


@jax.custom_jvp
def own(x):
    return jnp.where(x > 0, x, 0.3 * jnp.expm1(x))


own.defjvp(lambda x, dx: (own(*x), dx[0] * jnp.where(x[0] > 0, 1.0, 0.3)))


@jax.custom_vjp
def clipped(x):
    return jnp.clip(x, -1, 1)


clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (g,))

PASSES = {
    "clip": lambda x: jnp.clip(x, -1, 2),
    "clip at 6": lambda x: jnp.clip(x, 0, 6),
    "clamp": lambda x: lax.clamp(0.0, x, 6.0),
    "minimum": lambda x: jnp.minimum(x, 0.5),
    "relu6": jax.nn.relu6,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_swish": jax.nn.hard_swish,
    "mish": jax.nn.mish,
    "soft_sign": jax.nn.soft_sign,
    "celu": jax.nn.celu,
    "selu": jax.nn.selu,
    "swish of another slope": lambda x: x * jax.nn.sigmoid(1.7 * x),
    "prelu": lambda x: jnp.where(x > 0, x, SLOPES * x),
    "step": lambda x: (x > 0).astype(x.dtype),
    "step, where": lambda x: jnp.where(x > 1, 1.0, 0.0),
    "sinh": jnp.sinh,
    "arctan": jnp.arctan,
    "powers": lambda x: 0.5 * x**3 - x,
    "residual": lambda x: x + jnp.tanh(x),
    "parts under jit": lambda x: x * jnp.tanh(jax.jit(jax.nn.softplus)(x)),
    "custom_jvp": own,
    "custom_vjp": clipped,
    "scan": lambda x: lax.scan(lambda c, e: (c, jax.nn.mish(e)), 0, x)[1],
    "checkpoint": jax.checkpoint(jax.nn.mish),
    "cond": lambda x: lax.cond(True, jax.nn.hard_tanh, jnp.tanh, x),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_is_0_at_0_passes_relevance_on(name, loose_promotion):
    np.testing.assert_allclose(relevance(PASSES[name]), R, rtol=1e-12)


def softplus(x):
    return np.log1p(np.exp(x))


SHIFTED = {
    "softplus": (jax.nn.softplus, softplus),
    "log_sigmoid": (jax.nn.log_sigmoid, lambda x: -softplus(-x)),
    "squareplus": (jax.nn.squareplus, lambda x: (x + np.sqrt(x * x + 4)) / 2),
    "sigmoid": (jax.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "sigmoid by tanh": (
        lambda x: 0.5 * (1 + jnp.tanh(x / 2)),
        lambda x: 1 / (1 + np.exp(-x)),
    ),
    "softplus in two": (lambda x: jnp.log1p(jnp.exp(x)), softplus),
    "exp": (jnp.exp, np.exp),
    "cos": (jnp.cos, np.cos),
    "clip": (lambda x: jnp.clip(x, 0.5, 3), lambda x: np.clip(x, 0.5, 3)),
    "logaddexp": (
        lambda x: jnp.logaddexp(x, 0.5 * x),
        lambda x: np.logaddexp(x, 0.5 * x),
    ),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_what_a_function_is_at_0_is_a_bias(name, loose_promotion):
    f, slow = SHIFTED[name]
    want = R * (slow(X) - slow(0 * X)) / slow(X)
    np.testing.assert_allclose(relevance(f), want, rtol=1e-10)


@pytest.mark.parametrize("name", ["hard_tanh", "mish"])
def test_the_same_in_bfloat16(name, loose_promotion):
    got = relevance(PASSES[name], dtype=jnp.bfloat16)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, R, rtol=1e-6)
    got = relevance(jax.nn.softplus, dtype=jnp.bfloat16)
    np.testing.assert_allclose(got, R * (1 - np.log(2) / softplus(X)), rtol=0.05)


W, V = (np.random.default_rng(i).normal(size=s) for i, s in enumerate(((3, 4), (4, 2))))
B = np.array([0.3, -0.2, 0.5, -0.4])
CLIP = np.random.default_rng(7).normal(size=(2, 3, 4, 3))
ACTIVATIONS = {
    "softplus": (jax.nn.softplus, softplus),
    "mish": (jax.nn.mish, lambda z: z * np.tanh(softplus(z))),
    "squareplus": SHIFTED["squareplus"],
    "hard_tanh": (jax.nn.hard_tanh, lambda z: np.clip(z, -1, 1)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_argument_is_the_layer_with_its_bias(name, loose_promotion):
    activation, slow = ACTIVATIONS[name]

    def f(clip):
        return activation(clip.mean((0, 1, 2)) @ W + B) @ V

    x = CLIP.mean((0, 1, 2))
    z = x @ W + B
    hidden = (slow(z) - slow(0 * z)) * V[:, 1]
    want = CLIP / CLIP.sum((0, 1, 2)) * (x * (W @ (hidden / z)))
    got = jaxattr.lrp(f, Epsilon(0.0), epsilon=0.0)(jnp.asarray(CLIP), 1)
    np.testing.assert_allclose(got.values, want, rtol=1e-9)


def test_relevance_has_no_pole_where_a_softplus_has_no_input():
    """Of a unit at z -> 0 no more than the slope of the softplus is handed on."""

    def f(clip):
        return jax.nn.softplus(clip.reshape(-1) @ jnp.ones((2, 1)))

    clip = jnp.asarray([1.0, -1 + 1e-5]).reshape(1, 1, 1, 2)
    got = jaxattr.lrp(f, Epsilon(0.0), epsilon=0.0)(clip, 0)
    np.testing.assert_allclose(got.values.ravel(), [0.5, -0.5], atol=1e-4)


def test_a_mask_is_no_function_and_a_gate_is_still_one():
    mask = np.arange(7) % 2 == 0
    got = relevance(lambda x: jnp.where(mask, x, 0.0))
    np.testing.assert_array_equal(got, R * mask)
    pair = (X, X[::-1].copy())
    of_x, of_y = relevance(lambda p: p[0] * jax.nn.sigmoid(p[1]), pair)
    np.testing.assert_allclose(of_x, R)
    np.testing.assert_array_equal(of_y, 0 * R)
    of_x, of_y = relevance(lambda p: jnp.maximum(*p), pair)
    np.testing.assert_array_equal(of_x, R * (X[::-1] < X) + R / 2 * (X[::-1] == X))


def test_the_halves_of_a_split_are_two_values():
    """`where(a > 0, b, 0)` is no ReLU, and `tanh(a) * b` no function of one."""
    both = np.concatenate([X, X[::-1]])
    seen = []

    def f(x, join):
        a, b = jnp.split(x, 2)
        return join(a, b)

    network = trace(lambda x: f(x, lambda a, b: jnp.where(a > 0, b, 0.0)), both)
    network.survey(lambda eqn, facts: seen.append(rectifier(eqn, facts)))
    assert seen
    assert set(seen) == {None}
    got = relevance(lambda x: f(x, lambda a, b: jnp.tanh(a) * b), both)
    np.testing.assert_allclose(got, np.tile(R / 2, 2), rtol=1e-12)


@jax.custom_jvp
def blend(a, b):
    return jnp.sqrt(a * a + b * b)


blend.defjvp(lambda xs, dxs: (blend(*xs), dxs[0] + dxs[1]))


@jax.custom_vjp
def turned(x):
    return x[..., ::-1]


turned.defvjp(lambda x: (turned(x), None), lambda _, g: (g,))


def test_what_is_no_such_function_is_named():
    clip = jnp.asarray(CLIP)
    for f, said in (
        (lambda x: blend(x, x[::-1]), "custom_jvp_call blend"),
        (turned, "custom_vjp_call turned"),
    ):
        with pytest.raises(ValueError, match=rf"without a rule.*: {said}\."):
            jaxattr.lrp(lambda clip, f=f: f(clip @ W).mean((0, 1, 2)))(clip, 0)
        cannot_see = f"cannot see: {said}\\."
        with pytest.warns(jaxattr.ExplanationWarning, match=cannot_see):
            jaxattr.guided_backprop(lambda x, f=f: jax.nn.relu(f(x)).mean((0, 1, 2)))(
                clip, 0
            )


@pytest.mark.parametrize(
    ("method", "settings"),
    [("lrp", {}), ("deep_taylor", {}), ("excitation_backprop", {"layer": "cells"})],
)
def test_a_network_without_layers_is_refused(method, settings):
    def f(clip):
        cells = jax.ad_checkpoint.checkpoint_name(clip, "cells")
        return jnp.tanh(cells.sum((0, 1, 2)))

    said = rf"`f` has no convolution.*layers of {method}.*: name, reduce_sum, tanh\."
    with pytest.raises(ValueError, match=said):
        getattr(jaxattr, method)(f, **settings)(jnp.asarray(CLIP), 0)
