"""Rank correlation of tables, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from jaxattr.metrics import rank_correlation

PEER = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}


@pytest.mark.parametrize("kind", PEER)
@pytest.mark.parametrize("levels", [3, 10**9])  # Many ties, none.
def test_is_scipys(kind, levels):
    table = np.random.default_rng(0).integers(levels, size=(23, 4)) / 7
    table[:, 3] -= table[:, 0]
    got = rank_correlation(table, kind=kind)
    assert got.shape == (4, 4)
    for i, j in np.ndindex(4, 4):
        expected = PEER[kind](table[:, i], table[:, j]).statistic
        assert got[i, j] == pytest.approx(expected, abs=1e-12)


def test_the_worked_case():
    a, b = [0.1, -0.4, 0.3, 0.2, 0, 0.6], [0.2, 0.3, -0.1, 0.4, 0.5, 0]
    table = np.array([a, b]).T
    assert rank_correlation(table)[0, 1] == pytest.approx(-0.657143, abs=1e-6)
    magnitude = rank_correlation(np.abs(table))[0, 1]
    assert magnitude == pytest.approx(-0.714286, abs=1e-6)


@pytest.mark.parametrize("kind", PEER)
def test_only_the_order_counts_and_a_constant_has_none(kind):
    x = np.random.default_rng(0).normal(size=9)
    table = np.stack([x, np.exp(x), -(x**3), np.ones(9)], 1)
    got = rank_correlation(table, kind=kind)
    expected = [[1, 1, -1], [1, 1, -1], [-1, -1, 1]]
    np.testing.assert_allclose(got[:3, :3], expected, atol=1e-12)
    assert np.isnan(got[3]).all()
    assert np.isnan(got[:, 3]).all()


def test_bad_input_is_named():
    for table in (np.ones(3), np.ones((1, 3)), [[1, np.nan], [2, 3]]):
        with pytest.raises(ValueError, match="`table`"):
            rank_correlation(table)
    with pytest.raises(ValueError, match="`kind`"):
        rank_correlation(np.eye(3), kind="pearson")
