import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import expected_gradients

CLIP = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 2)))
BASELINES = np.random.default_rng(1).normal(size=(5, 2, 3, 4, 2))
WEIGHT = np.random.default_rng(2).normal(size=(2, 3, 4, 2))


def quadratic(x):
    return jnp.stack([(WEIGHT * x**2).sum(), x.sum()])


def test_quadratic_score_matches_closed_form_in_expectation():
    # E over alpha of (x - b) 2 w (b + alpha (x - b)) = w (x^2 - b^2).
    want = (WEIGHT * (np.asarray(CLIP) ** 2 - BASELINES**2)).mean(0)
    explain = expected_gradients(quadratic, baselines=BASELINES, num_samples=2000)
    got = explain(CLIP, 0, key=jax.random.key(0))
    # Stratified: far below the error that independent draws would leave.
    assert np.abs((got.values - want) / got.standard_error).max() < 0.1
    assert abs(float(got.residual)) < 0.02


def test_a_linear_score_is_exact_from_every_baseline_once():
    f = lambda x: jnp.stack([(WEIGHT * x).sum(), x.sum()])
    explain = expected_gradients(f, baselines=BASELINES, num_samples=5)
    got = explain(CLIP, 0, key=jax.random.key(1))
    want = WEIGHT * (CLIP - BASELINES.mean(0))
    np.testing.assert_allclose(got.values, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.residual, 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (0, 2, 3, 4, 2), (5, 2, 3, 4, 1)])
def test_baselines_that_do_not_fit_are_named(shape):
    explain = expected_gradients(quadratic, baselines=np.zeros(shape))
    with pytest.raises(ValueError, match="`baselines`"):
        explain(CLIP, 0, key=jax.random.key(0))
