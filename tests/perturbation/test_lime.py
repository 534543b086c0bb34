"""LIME against worked numbers, scikit-learn and captum."""

import games
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from jaxattr import lime
from jaxattr.perturbation._coalitions import all_coalitions
from jaxattr.perturbation._least_squares import (
    predict,
    weighted_least_squares,
    weighted_r2,
)

KEY = jax.random.key(0)
ONES = jnp.ones(games.SHAPE)


@pytest.mark.parametrize(
    ("ridge", "coefficients", "intercept"),
    [
        (0.0, (5.077108, 6.077108, -0.967986), -1.509257),
        (1.0, (2.070529, 2.571373, -0.957118), 2.976738),
    ],
)
def test_worked_numbers_of_all_eight_points(ridge, coefficients, intercept):
    z = all_coalitions(3).astype(float)
    y = jax.vmap(games.worked)(z)
    weights = np.array([0.000335, 0.239533, 0.763847, 1])[z.sum(1).astype(int)]
    fit = weighted_least_squares(z, y, jnp.asarray(weights), ridge=ridge)
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=5e-5)
    np.testing.assert_allclose(fit.intercept, intercept, atol=5e-5)
    plain = weighted_least_squares(z, y, jnp.ones(8))
    np.testing.assert_allclose(plain.coefficients, (4, 5, -1), atol=1e-12)
    np.testing.assert_allclose(plain.intercept, 0, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("intercept", [True, False])
def test_least_squares_are_those_of_scikit_learn(ridge, intercept):
    rng = np.random.default_rng(0)
    z, y, w = rng.normal(size=(40, 5)), rng.normal(size=40) + 3, rng.uniform(size=40)
    want = Ridge(alpha=ridge or 1e-12, fit_intercept=intercept).fit(z, y, w)
    got = weighted_least_squares(
        *map(jnp.asarray, (z, y, w)), ridge=ridge, intercept=intercept
    )
    np.testing.assert_allclose(got.coefficients, want.coef_, rtol=1e-9)
    np.testing.assert_allclose(got.intercept, want.intercept_, rtol=1e-9)
    r2 = weighted_r2(jnp.asarray(y), predict(got, jnp.asarray(z)), jnp.asarray(w))
    np.testing.assert_allclose(r2, want.score(z, y, w), rtol=1e-9)


def test_a_constant_feature_gets_zero_and_nothing_is_nan():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(20, 4)), rng.normal(size=20)
    z[:, 2] = 0
    got = weighted_least_squares(jnp.asarray(z), jnp.asarray(y), jnp.ones(20))
    others = [0, 1, 3]
    want = weighted_least_squares(
        jnp.asarray(z[:, others]), jnp.asarray(y), jnp.ones(20)
    )
    np.testing.assert_allclose(got.coefficients[2], 0, atol=1e-14)
    np.testing.assert_allclose(
        np.asarray(got.coefficients)[others], want.coefficients, rtol=1e-9
    )
    nothing = weighted_least_squares(jnp.zeros((20, 4)), jnp.asarray(y), jnp.zeros(20))
    np.testing.assert_array_equal(nothing.coefficients, 0)


@pytest.mark.parametrize("width", [0.25, 0.6])
def test_the_model_of_the_samples_drawn(width):
    """Samples are drawn once more; the rest is scikit-learn's."""
    num, segments = 6, games.labels(6)
    spread = np.array([0, 5, 2, 7, 3, 1])[segments]  # 4 and 6 do not occur.
    f = games.network(segments, games.curved)
    run = lime(
        f,
        num_segments=8,
        num_samples=50,
        kernel_width=width,
        ridge=0.7,
        score="logit",
    )
    got = run(ONES, 0, segments=spread, key=KEY)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(50))
    z = np.array(jax.vmap(lambda k: jax.random.bernoulli(k, 0.5, (8,)))(keys), float)
    z[0] = 1
    z = z[:, [0, 5, 2, 7, 3, 1]]
    y = np.array([games.curved(jnp.asarray(row)) for row in z])
    norm = np.sqrt((z**2).sum(1))
    cosine = np.divide(z.sum(1), norm * np.sqrt(num), np.zeros(50), where=norm > 0)
    w = np.sqrt(np.exp(-((1 - cosine) ** 2) / width**2))
    want = Ridge(alpha=0.7).fit(z, y, w)
    found = np.asarray(got.coefficients)
    np.testing.assert_allclose(found[[0, 5, 2, 7, 3, 1]], want.coef_, rtol=1e-8)
    np.testing.assert_allclose(found[[4, 6]], 0, atol=1e-14)
    np.testing.assert_allclose(got.intercept, want.intercept_, rtol=1e-8)
    np.testing.assert_allclose(got.r2, want.score(z, y, w), rtol=1e-8)
    np.testing.assert_array_equal(got.values, found[spread])


def test_near_captum_with_the_same_kernel_and_ridge():
    captum = pytest.importorskip("captum.attr")
    import torch
    from captum._utils.models.linear_model import SkLearnRidge

    segments = games.labels(4)
    weight = np.random.default_rng(1).normal(size=games.SHAPE)
    clip = np.random.default_rng(2).normal(size=games.SHAPE)

    def f(x):
        return jnp.tanh((jnp.asarray(weight) * x).sum() / 3)[None]

    def of_torch(x):
        return torch.tanh((torch.as_tensor(weight) * x).sum((1, 2, 3, 4)) / 3)

    def similarity(_, __, z, **___):
        share = float(z.sum() / z.numel())
        return float(np.exp(-(((1 - share**0.5) / 0.4) ** 2) / 2))

    torch.manual_seed(0)
    theirs = captum.Lime(
        of_torch,
        interpretable_model=SkLearnRidge(alpha=1e-6),
        similarity_func=similarity,
    ).attribute(
        torch.as_tensor(clip)[None],
        feature_mask=torch.as_tensor(segments)[None, ..., None],
        n_samples=4000,
    )
    run = lime(
        f,
        num_segments=4,
        num_samples=4000,
        kernel_width=0.4,
        ridge=1e-6,
        score="logit",
    )
    got = run(jnp.asarray(clip), 0, segments=segments, key=KEY)
    np.testing.assert_allclose(got.values, theirs[0, ..., 0], atol=0.03)


@pytest.mark.parametrize(
    "setting", [{"num_samples": 0}, {"kernel_width": 0.0}, {"ridge": -1.0}]
)
def test_bad_settings_are_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"`{name}`"):
        lime(lambda x: x.sum()[None], **setting)
