"""What is said of negative inputs to rules for units that are never negative."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxattr
from jaxattr.rules import Gamma

CLIP = np.random.default_rng(0).normal(size=(4, 3, 2, 3))
INTO, MIX, HEAD = (
    np.random.default_rng(1).normal(size=shape) for shape in ((3, 5), (5, 5), (5, 2))
)


def network(activation):
    """The same layers feed-forward above a scan, whose state is an input as well."""

    def f(clip):
        def step(state, row):
            return activation(row @ INTO + state @ MIX), None

        state, _ = lax.scan(step, jnp.zeros(5), clip.mean((1, 2)))
        return jax.checkpoint(lambda x: activation(x @ MIX))(state) @ HEAD

    return f


def share_of_tanh():
    """Of all that went into MIX and HEAD; the rows that went into INTO are the clip."""
    inputs, state = [], np.zeros(5)
    for row in CLIP.mean((1, 2)):
        inputs.append(state)
        state = np.tanh(row @ INTO + state @ MIX)
    inputs += [state, np.tanh(state @ MIX)]
    return np.maximum(-np.concatenate(inputs), 0).sum() / np.abs(inputs).sum()


@pytest.mark.parametrize(
    "explain_of",
    [
        jaxattr.deep_taylor,
        lambda f: jaxattr.lrp(f, Gamma(0.5, textbook=True)),
    ],
)
def test_the_share_is_told_where_values_are_known(explain_of):
    explain, want = explain_of(network(jnp.tanh)), share_of_tanh()
    assert 0.1 < want < 0.9
    clip = jnp.asarray(CLIP)
    with pytest.warns(
        jaxattr.ExplanationWarning, match=f"{100 * want:.2g}% of the act"
    ):
        got = explain(clip, 1)
    np.testing.assert_allclose(got.negative, want, rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traced = jax.jit(jax.vmap(explain, (0, None)))(clip[None], 1)
    np.testing.assert_allclose(traced.negative, [want], rtol=1e-5)


def test_nothing_is_told_of_what_is_as_it_should_be(recwarn):
    clip = jnp.asarray(CLIP)
    for f, rules in ((jax.nn.relu, "z_plus"), (jnp.tanh, "epsilon")):
        f = network(f)
        assert jaxattr.lrp(f, rules)(clip, int(f(clip).argmax())).negative == 0
    assert not recwarn.list
