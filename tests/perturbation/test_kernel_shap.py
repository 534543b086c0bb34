"""KernelSHAP against Shapley values by enumeration, and captum."""

import games
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import kernel_shap

KEY = jax.random.key(0)
ONES = jnp.ones(games.SHAPE)


def explain(game, segments, **settings):
    num = settings.pop("num_segments", segments.max() + 1)
    f = games.network(segments, game)
    run = kernel_shap(f, num_segments=num, score="logit", **settings)
    return run(ONES, 0, segments=segments, key=KEY)


def test_the_worked_game():
    segments = games.labels(3)
    got = explain(games.worked, segments)
    np.testing.assert_allclose(got.shapley, [4, 5, -1], atol=1e-12)
    np.testing.assert_allclose(got.base, 1)
    np.testing.assert_allclose(got.values, np.array([4, 5, -1])[segments], atol=1e-12)


@pytest.mark.parametrize("num", [1, 2, 7])
def test_exact_where_all_sets_are_affordable(num):
    game = games.curved if num > 2 else lambda z: jnp.exp(z.sum() + z[0])
    got = explain(game, games.labels(num))
    np.testing.assert_allclose(got.shapley, games.shapley(game, num), atol=1e-11)
    whole = game(jnp.ones(num)) - got.base
    np.testing.assert_allclose(got.shapley.sum(), whole, rtol=1e-12)


def test_sampling_is_complete_and_near_the_exact_values():
    segments, num = games.labels(8), 8
    want = games.shapley(games.curved, num)
    # 2**8 sets are more than 2 * 8 + 102: they are drawn.
    keys = jax.random.split(KEY, 40)
    f = games.network(segments, games.curved)
    run = kernel_shap(f, num_segments=num, num_samples=100, score="logit")
    got = jax.vmap(lambda k: run(ONES, 0, segments=segments, key=k))(keys)
    whole = games.curved(jnp.ones(num)) - games.curved(jnp.zeros(num))
    np.testing.assert_allclose(got.shapley.sum(1), np.full(40, whole), rtol=1e-12)
    error = np.asarray(got.shapley) - want
    assert np.abs(error).max() < 0.15
    assert error.std(0).max() > 1e-4  # It is a sample.
    assert (np.abs(error.mean(0)) < 5 * error.std(0) / np.sqrt(40) + 5e-3).all()


@pytest.mark.parametrize("num_samples", [20, 2048])
def test_an_additive_game_is_solved_by_any_sample(num_samples):
    weight = jnp.linspace(-2, 3, 9)
    got = explain(
        lambda z: 4 + (weight * z).sum(), games.labels(9), num_samples=num_samples
    )
    np.testing.assert_allclose(got.shapley, weight, atol=1e-11)
    np.testing.assert_allclose(got.r2, 1, atol=1e-11)


def test_a_set_and_its_complement_solve_pairwise_interactions():
    """Differences within pairs are additive: half of each interaction to each."""
    pairs = np.random.default_rng(1).normal(size=(9, 9))
    want = (pairs.sum(0) + pairs.sum(1)) / 2
    game = lambda z: 1 + z @ jnp.asarray(pairs) @ z
    got = explain(game, games.labels(9), num_samples=20)
    np.testing.assert_allclose(got.shapley, want, atol=1e-10)
    assert got.r2 < 0.99  # It is not an additive game.


@pytest.mark.parametrize(
    "num_samples", [pytest.param(10, marks=pytest.mark.slow), 2048]
)
def test_labels_that_do_not_occur_are_no_players(num_samples):
    segments = games.labels(5)
    spread = np.array([8, 1, 4, 9, 6])[segments]
    f = games.network(segments, games.curved)
    run = kernel_shap(f, num_segments=10, num_samples=num_samples, score="logit")
    got = run(ONES, 0, segments=spread, key=KEY)
    absent = np.setdiff1d(np.arange(10), spread)
    np.testing.assert_array_equal(np.asarray(got.shapley)[absent], 0)
    want = games.shapley(games.curved, 5)
    tolerance = 1e-11 if num_samples > 1000 else 0.3
    found = np.asarray(got.shapley)[[8, 1, 4, 9, 6]]
    np.testing.assert_allclose(found, want, atol=tolerance)
    np.testing.assert_allclose(found.sum(), want.sum(), rtol=1e-12)


def test_equal_to_captum_on_all_sets():
    captum = pytest.importorskip("captum.attr")
    import torch

    segments, num = games.labels(4), 4
    weight = np.random.default_rng(1).normal(size=games.SHAPE)
    clip = np.random.default_rng(2).normal(size=games.SHAPE)

    def f(x):
        return jnp.tanh((jnp.asarray(weight) * x).sum() / 3)[None]

    def of_torch(x):
        return torch.tanh((torch.as_tensor(weight) * x).sum((1, 2, 3, 4)) / 3)

    torch.manual_seed(0)
    theirs = captum.KernelShap(of_torch).attribute(
        torch.as_tensor(clip)[None],
        feature_mask=torch.as_tensor(segments)[None, ..., None],
        n_samples=4000,
    )
    run = kernel_shap(f, num_segments=num, score="logit")
    got = run(jnp.asarray(clip), 0, segments=segments, key=KEY)
    # captum draws sets, and gives the constraints a large weight.
    np.testing.assert_allclose(got.values, theirs[0, ..., 0], atol=0.02)


def test_bad_labels_raise_or_give_nan():
    segments = games.labels(3)
    f = games.network(segments, games.worked)
    run = kernel_shap(f, num_segments=2, score="logit")
    with pytest.raises(ValueError, match=r"`segments`.*0\.\.1.*0\.\.2.*`num_segments`"):
        run(ONES, 0, segments=segments, key=KEY)
    traced = jax.jit(lambda g: run(ONES, 0, segments=g, key=KEY).values)
    assert np.isnan(traced(segments)).all()
    assert np.isnan(traced(segments - 1)).all()
    assert np.isfinite(traced(segments.clip(0, 1))).all()
    with pytest.raises(TypeError, match="`segments`"):
        run(ONES, 0, segments=segments + 0.5, key=KEY)
    with pytest.raises(ValueError, match="`segments`"):
        run(ONES, 0, segments=segments[:2], key=KEY)
    with pytest.raises(TypeError, match="`segments`"):
        run(ONES, 0, key=KEY)
    for name in ("num_segments", "num_samples"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            kernel_shap(f, **{name: 0})
