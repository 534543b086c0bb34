"""Relevance through attention, layer norm and gelu: AttnLRP."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxattr
from jaxattr.program import trace
from jaxattr.rules import Epsilon
from jaxattr.rules._relevance import Relevance


def relevance(f, given, r):
    """What a function hands back of the relevance r of its result."""
    network = trace(f, given, fold=False)
    rule = Relevance(network, lambda eqn: Epsilon(0.0), 0.0)
    back = jax.jit(lambda given, r: jax.vjp(network.under(rule), given)[1](r)[0])
    return back(given, jnp.asarray(r))


def test_worked_numbers():
    x = jnp.asarray([1.0, 2, 0])
    got = relevance(jax.nn.softmax, x, [0.5, 0.2, 0.1])
    np.testing.assert_allclose(got, (0.304217, -0.664386, 0), atol=1e-6)
    a, v = jnp.asarray([[0.7, 0.3]]), jnp.asarray([[1.0, 2], [3, -1]])
    of_a, of_v = relevance(lambda pair: pair[0] @ pair[1], (a, v), [[1.0, 2]])
    np.testing.assert_allclose(of_a, [(1.491477, 0.008523)], atol=1e-6)
    want = [(0.21875, 1.272727), (0.28125, -0.272727)]
    np.testing.assert_allclose(of_v, want, atol=1e-6)


def by_rsqrt(x):
    x = x - x.mean()
    return x * lax.rsqrt((x * x).mean())


def by_division(x):
    return (x - x.mean()) / jnp.sqrt(jnp.var(x))


@pytest.mark.parametrize("norm", [by_rsqrt, by_division])
def test_a_layer_norm_keeps_its_deviation(norm):
    got = relevance(norm, jnp.asarray([1.0, 2, 4]), [0.2, 0.3, 0.5])
    np.testing.assert_allclose(got, (0.1, -1.3, 2.2), rtol=1e-10)


@pytest.mark.parametrize(
    "activation",
    [
        jax.nn.gelu,
        lambda x: jax.nn.gelu(x, approximate=False),
        lambda x: 0.5 * x * (1 + lax.erf(x / np.sqrt(2))),
        jax.nn.silu,
        jax.nn.elu,
    ],
)
def test_an_activation_in_many_operations_passes_relevance_on(activation):
    r = [0.2, -0.3, 0.5]
    got = relevance(activation, jnp.asarray([1.0, -2, 4]), r)
    np.testing.assert_allclose(got, r, rtol=1e-12)


def test_masked_keys_get_nothing():
    mask = np.array([True, False, True])

    def f(x):
        return jax.nn.softmax(jnp.where(mask, x, -jnp.inf))

    got = relevance(f, jnp.asarray([1.0, 2, 0.5]), [0.5, 0.2, 0.1])
    s = np.exp([1, 0.5]) / np.exp([1, 0.5]).sum()
    want = np.array([1, 0.5]) * (np.array([0.5, 0.1]) - s * 0.8)
    np.testing.assert_allclose(got, (want[0], 0, want[1]), rtol=1e-12)


TOKENS, WIDTH, HEADS = 6, 4, 2
RNG = np.random.default_rng(0)
W = {
    name: RNG.normal(size=shape)
    for name, shape in {
        "embed": (10, WIDTH),
        "position": (TOKENS, WIDTH),
        "qkv": (WIDTH, 3 * WIDTH),
        "out": (WIDTH, WIDTH),
        "in": (WIDTH, 7),
        "bias": (1, 7),
        "back": (7, WIDTH),
        "head": (WIDTH, 3),
    }.items()
}
CLIP = jnp.asarray(RNG.normal(size=(3, 2, 5, 2)))


class Plain:
    """The operations of a transformer as they are."""

    gelu = staticmethod(jax.nn.gelu)
    product = staticmethod(jnp.einsum)

    @staticmethod
    def norm(x):
        x = x - x.mean(-1, keepdims=True)
        return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)


class Modified:
    """With derivatives that make gradient times input what the rules give."""

    @staticmethod
    def gelu(x):
        return x * lax.stop_gradient(jax.nn.gelu(x) / x)

    @staticmethod
    def product(text, a, b):
        still = lax.stop_gradient
        return (jnp.einsum(text, a, still(b)) + jnp.einsum(text, still(a), b)) / 2

    @staticmethod
    def norm(x):
        x = x - x.mean(-1, keepdims=True)
        return x * lax.stop_gradient(lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6))


def transformer(by, clip):
    x = clip.transpose(0, 1, 3, 2).reshape(TOKENS, 10) @ W["embed"]
    # No bias on the path: its share depends on where it is added.
    split = (by.norm(x) @ W["qkv"]).reshape(TOKENS, 3, HEADS, -1)
    q, k, v = split[:, 0], split[:, 1], split[:, 2]
    scores = by.product("qhd,khd->hqk", q, k) / np.sqrt(2)
    mixed = by.product("hqk,khd->qhd", jax.nn.softmax(scores), v)
    x = x + mixed.reshape(TOKENS, WIDTH) @ W["out"] + W["position"]
    x = x + by.gelu(by.norm(x) @ W["in"] + W["bias"]) @ W["back"]
    return by.norm(x).mean(0) @ W["head"]


def test_a_transformer_is_gradient_times_input_with_other_derivatives():
    got = jaxattr.lrp(
        lambda x: transformer(Plain, x), jaxattr.rules.Epsilon(0.0), epsilon=0.0
    )
    got = got(CLIP, 1)
    gradient = jax.jit(jax.grad(lambda x: transformer(Modified, x)[1]))(CLIP)
    want = np.asarray(CLIP * gradient)
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(got.values, want, rtol=1e-6, atol=1e-9)
    logits = jax.jit(lambda x: transformer(Plain, x))(CLIP)
    np.testing.assert_allclose(got.score, logits[1], rtol=1e-12)


def test_a_division_without_a_rule_is_named():
    def f(clip):
        x = clip @ W["embed"][:2]
        return (x / (1 + x.mean((0, 1), keepdims=True) ** 2)).mean((0, 1, 2))

    with pytest.raises(ValueError, match="without a rule for relevance: div"):
        jaxattr.lrp(f)(CLIP, 0)
