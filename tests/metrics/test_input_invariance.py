"""Input invariance, by hand on a linear network."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest
from scipy import stats

import jaxattr
from jaxattr.metrics import input_invariance

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    "kind",
    [
        "nnx",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("linen", "dataclass", "function")
        ),
    ],
)
def test_gradients_are_invariant(kind):
    f, clip = networks.make(kind), networks.clip()
    got = input_invariance(jaxattr.saliency, f, shift=0.5)(clip, 1, key=KEY)
    np.testing.assert_allclose(got.difference, 0, atol=1e-9)
    np.testing.assert_allclose([got.spearman, got.spearman_abs], 1, rtol=1e-9)


@pytest.mark.parametrize("shift", [0.75, np.array([1.0, -2.0])])
def test_input_x_gradient_is_not(shift):
    weight = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    clip = networks.clip(shape=weight.shape)
    f = jax.tree_util.Partial(
        lambda w, x: jnp.stack([(w * x).sum(), x.sum()]), jnp.asarray(weight)
    )
    got = input_invariance(jaxattr.input_x_gradient, f, shift=shift)(clip, 0, key=KEY)
    a = np.asarray(clip) * weight  # By hand: w x, and w (x + c).
    b = (np.asarray(clip) + shift) * weight
    expected = np.linalg.norm((a - b).ravel()) / np.linalg.norm(a.ravel())
    np.testing.assert_allclose(got.difference, expected, rtol=1e-12)
    rho = stats.spearmanr(a.ravel(), b.ravel()).statistic
    np.testing.assert_allclose(got.spearman, rho, rtol=1e-12)
    rho = stats.spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic
    np.testing.assert_allclose(got.spearman_abs, rho, rtol=1e-12)


@pytest.mark.slow
def test_a_random_method_gets_one_key_and_vmap_is_the_loop():
    f = networks.make("nnx")
    measure = input_invariance(jaxattr.smooth_grad, f)
    clips = jnp.stack([networks.clip(i) for i in (0, 1)])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(2))
    got = jax.vmap(lambda c, k: measure(c, 1, key=k))(clips, keys)
    np.testing.assert_allclose(got.difference, 0, atol=1e-9)


def test_bad_shift_is_named():
    f, clip = networks.make("nnx"), networks.clip()
    with pytest.raises(ValueError, match="`shift`"):
        input_invariance(jaxattr.saliency, f, shift=np.ones(2))(clip, 1, key=KEY)
