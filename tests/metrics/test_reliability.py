"""Reliability of a metric, against the double sum over pairs of clips."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxattr.metrics import reliability


def pair_by_pair(scores, random, ascending):
    """The study's formula, with its 1e-10."""
    num_methods = scores.shape[1]
    weights = []
    for row in scores:
        worst_first = sorted(row, reverse=not ascending)
        rank = worst_first.index(row[random])  # Ties: the first position.
        weights.append((num_methods - 1 - rank) / (num_methods - 1))
    top = bottom = 0
    for i, j in itertools.combinations(range(len(scores)), 2):
        rho = stats.spearmanr(scores[i], scores[j]).statistic
        top += weights[i] * weights[j] * (rho + 1)
        bottom += weights[i] * weights[j]
    return top / (bottom + 1e-10) - 1, weights


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize(("random", "levels"), [(0, 10**9), (3, 10**9), (2, 4)])
def test_is_the_double_sum(random, levels, higher_is_better):
    rng = np.random.default_rng(0)
    quality = np.array([0.2, 0.3, 0.5, 0.8, 1])
    scores = quality + 2 * rng.integers(levels, size=(12, 5)) / levels
    expected, weights = pair_by_pair(scores, random, higher_is_better)
    got = reliability(scores, random=random, higher_is_better=higher_is_better)
    assert got.alpha == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(got.weights, weights, atol=1e-12)
    assert got.random_worst == pytest.approx(np.mean(np.array(weights) == 1))
    assert 0 < got.weights.mean() < 1


def test_closed_cases():
    row = np.array([0.1, 0.4, 0.3, 0.9])  # Random first, and worst.
    agree = reliability(np.stack([row, 2 * row, row**2]))
    assert agree.alpha == pytest.approx(1)
    assert agree.weights.tolist() == [1, 1, 1]
    assert agree.random_worst == 1
    # Read the other way random is best everywhere: no clip has weight.
    other = reliability(np.stack([row, row]), higher_is_better=False)
    assert np.isnan(other.alpha)
    assert other.weights.tolist() == [0, 0]
    assert other.random_worst == 0
    # Random worst, the rest in opposite orders: ranks 1234 and 1432, rho = 0.2.
    opposed = reliability(np.array([[0, 1, 2, 3.0], [0, 3, 2, 1]]))
    assert opposed.alpha == pytest.approx(0.2)
    # Two clips agree, a third finds random best: it does not count.
    three = reliability(np.array([[0, 1, 2, 3.0], [0, 1, 2, 3], [9, 3, 2, 1]]))
    assert three.alpha == pytest.approx(1)
    assert three.random_worst == pytest.approx(2 / 3)


def test_clips_without_an_order_do_not_count():
    row = np.array([0.1, 0.4, 0.3, 0.9])
    got = reliability(np.stack([row, row, np.full(4, 0.5)]))
    assert got.alpha == pytest.approx(1)
    assert got.weights.tolist() == [1, 1, 0]
    assert got.random_worst == 1
    best = reliability(np.stack([row, -row, np.full(4, 0.5)]))
    assert best.random_worst == 1 / 2  # Of the two clips on which methods differ.
    # A pair of one clip is none, whatever rounding leaves of its weight.
    alone = reliability(np.array([[1.0, 0, 2, 3], [9, 3, 2, 1], [9, 1, 2, 3]]))
    assert alone.weights.tolist() == pytest.approx([2 / 3, 0, 0])
    assert np.isnan(alone.alpha)
    nothing = reliability(np.ones((3, 4)))
    assert np.isnan(nothing.alpha)
    assert np.isnan(nothing.random_worst)


@pytest.mark.parametrize("num_methods", [2, 6])
def test_random_orders_get_chance(num_methods):
    scores = np.random.default_rng(0).random((20_000, num_methods))
    for random in (0, num_methods - 1):
        got = reliability(scores, random=random)
        assert got.alpha == pytest.approx(got.chance, abs=0.01)
    assert got.chance == pytest.approx({2: 1, 6: 7 / 75}[num_methods])


def test_bad_input_is_named():
    for scores in (
        np.ones(4),
        np.ones((1, 4)),
        np.ones((4, 1)),
        np.full((3, 3), np.nan),
    ):
        with pytest.raises(ValueError, match="`scores`"):
            reliability(scores)
    for random in (-1, 4):
        with pytest.raises(ValueError, match="`random`"):
            reliability(np.eye(4), random=random)
