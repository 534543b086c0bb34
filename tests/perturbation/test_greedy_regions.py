"""Greedy search against a slow one, and games in which it is known to be right."""

import games
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import greedy_regions

ONES = jnp.ones(games.SHAPE)
WEIGHT = jnp.asarray([0.5, -1, 3, 2, -2, 1])


def explain(game, segments, **settings):
    settings = {"num_segments": int(segments.max()) + 1, "score": "logit", **settings}
    f = games.network(segments, game)
    return greedy_regions(f, **settings)(ONES, 0, segments=segments)


@pytest.mark.parametrize("num_regions", [1, 4, 6])
def test_an_additive_game_is_ordered_by_contribution(num_regions):
    segments = games.labels(6)
    got = explain(lambda z: (WEIGHT * z).sum(), segments, num_regions=num_regions)
    want = [2, 3, 5, 0, 1, 4]
    np.testing.assert_array_equal(got.order, want[:num_regions])
    gains = np.cumsum(np.asarray(WEIGHT)[want[:num_regions]])
    np.testing.assert_allclose(got.curve, [0, *gains], atol=1e-12)
    place = np.argsort(want)  # Those that were not chosen are in order, too.
    np.testing.assert_allclose(got.values, (1 - place / 6)[segments], rtol=1e-12)


def test_equal_to_a_slow_search_where_segments_interact():
    got = explain(games.curved, games.labels(7), num_regions=5)
    z, order = np.zeros(7), []
    for _ in range(5):
        scores = {
            n: float(games.curved(jnp.asarray(z + np.eye(7)[n])))
            for n in range(7)
            if not z[n]
        }
        order.append(max(scores, key=scores.get))
        z[order[-1]] = 1
    np.testing.assert_array_equal(got.order, order)
    np.testing.assert_allclose(got.curve[-1], scores[order[-1]], rtol=1e-12)


def test_coverage_is_within_1_over_e_of_the_best():
    sets = np.random.default_rng(0).uniform(size=(8, 30)) < 0.2

    def covered(z):
        return (1 - jnp.prod(1 - z[:, None] * jnp.asarray(sets, float), 0)).sum()

    got = explain(covered, games.labels(8), num_regions=3)
    triples = np.array(np.meshgrid(*[range(8)] * 3)).reshape(3, -1).T
    best = max(sets[list(t)].any(0).sum() for t in triples)
    assert got.curve[-1] >= (1 - 1 / np.e) * best


def test_labels_that_do_not_occur_are_never_chosen():
    segments = games.labels(3)
    spread = np.array([7, 2, 5])[segments]
    f = games.network(segments, lambda z: (WEIGHT[:3] * z).sum())
    run = greedy_regions(f, num_segments=9, num_regions=5, score="logit")
    got = run(ONES, 0, segments=spread)
    np.testing.assert_array_equal(got.order, [5, 7, 2, -1, -1])
    np.testing.assert_allclose(got.curve, [0, 3, 3.5, 2.5, 2.5, 2.5], atol=1e-12)
    want = np.array([2 / 3, 1 / 3, 1])[segments]
    np.testing.assert_allclose(got.values, want, rtol=1e-12)


def test_bad_settings_and_labels():
    f = games.network(games.labels(3), games.worked)
    for settings in ({"num_regions": 0}, {"num_regions": 9, "num_segments": 8}):
        with pytest.raises(ValueError, match="`num_regions`"):
            greedy_regions(f, **settings)
    run = greedy_regions(f, num_segments=2, num_regions=1, score="logit")
    traced = jax.jit(lambda g: run(ONES, 0, segments=g).values)
    assert np.isnan(traced(games.labels(3))).all()
