"""Bootstrap intervals against normal theory and their promised coverage."""

import numpy as np
import pytest

from jaxattr.metrics import paired_bootstrap


def test_interval_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(3, 2, size=500)
    got = paired_bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert got.mean == pytest.approx(values.mean(), rel=1e-12)
    np.testing.assert_allclose(
        (got.low, got.high), (got.mean - half, got.mean + half), atol=0.05 * half
    )


def test_intervals_cover_the_true_mean():
    # 400 data sets of 128 coin flips, as a hit rate is: 95 %, with a binomial standard
    # error of 1.1 points.
    flips = np.random.default_rng(2).random((400, 128)) < 0.7
    intervals = [
        paired_bootstrap(sample, num=1000, seed=i) for i, sample in enumerate(flips)
    ]
    covered = np.mean([i.low <= 0.7 <= i.high for i in intervals])
    assert 0.95 - 0.033 <= covered <= 0.95 + 0.033
    narrow = paired_bootstrap(flips[0], level=0.5)
    wide = paired_bootstrap(flips[0], level=0.95)
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_pairs_are_kept_together():
    rng = np.random.default_rng(3)
    difficulty = rng.normal(0, 10, size=60)
    a, b = difficulty + 1 + rng.normal(0, 0.1, 60), difficulty
    got = paired_bootstrap(a, b)
    assert got == paired_bootstrap(a - b)
    assert 0.9 < got.low < got.mean < got.high < 1.1  # Unpaired, +-3.6.
    assert got.mean == pytest.approx(a.mean() - b.mean())


def test_equal_values_make_a_point_and_the_seed_decides():
    assert paired_bootstrap(np.ones(9)) == (1, 1, 1)
    values = np.arange(30.0)
    assert paired_bootstrap(values, seed=1) == paired_bootstrap(values, seed=1)
    assert paired_bootstrap(values, seed=1) != paired_bootstrap(values, seed=2)


def test_blocks_are_all_drawn(monkeypatch):
    values = np.random.default_rng(4).normal(size=50)
    whole = paired_bootstrap(values, num=1001)
    monkeypatch.setattr("jaxattr.metrics._bootstrap._BLOCK", 50 * 100)
    assert paired_bootstrap(values, num=1001) == whole


def test_what_has_no_mean_is_refused():
    for values in ([], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="`a`"):
            paired_bootstrap(values)
    with pytest.raises(ValueError, match="`b` must be finite"):
        paired_bootstrap([1.0, 2.0], [1.0, np.inf])
    with pytest.raises(ValueError, match="same clips"):
        paired_bootstrap([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="`level`"):
        paired_bootstrap([1.0], level=95)
    with pytest.raises(ValueError, match="`num`"):
        paired_bootstrap([1.0], num=0)
