"""Krippendorff's alpha against the published example and pairs of values."""

import itertools

import numpy as np
import pytest

from jaxattr.metrics import krippendorff_alpha

_ = np.nan
# Krippendorff 2011, example D: 4 coders, 12 units, the last given by one coder only.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_the_published_example(level, alpha):
    assert krippendorff_alpha(PUBLISHED, level=level) == pytest.approx(alpha, abs=5e-4)


def pair_by_pair(table, delta):
    """Disagreement of all pairs within units, over that of all pairs at all."""
    units = [[v for v in unit if not np.isnan(v)] for unit in table.T]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    observed = sum(
        delta(a, b) / (len(unit) - 1)
        for unit in units
        for a, b in itertools.permutations(unit, 2)
    ) / len(values)
    pairs = [delta(a, b) for a, b in itertools.permutations(values, 2)]
    return 1 - observed / np.mean(pairs)


@pytest.mark.parametrize("seed", range(3))
def test_is_the_mean_over_pairs(seed):
    rng = np.random.default_rng(seed)
    table = np.round(rng.normal(size=8) + rng.normal(size=(3, 8)))
    table[rng.random((3, 8)) < 0.2] = np.nan
    for level, delta in [
        ("nominal", lambda a, b: a != b),
        ("interval", lambda a, b: (a - b) ** 2),
    ]:
        expected = pair_by_pair(table, delta)
        assert krippendorff_alpha(table, level=level) == pytest.approx(expected)


def test_closed_cases():
    same = np.tile([1.0, 2, 3, 3], (3, 1))
    for level in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(same, level=level) == pytest.approx(1)
        assert np.isnan(krippendorff_alpha(np.ones((3, 4)), level=level))
    # Ordinal looks at the order of values only, if their counts are what they are.
    stretched = krippendorff_alpha(PUBLISHED**5, level="ordinal")
    assert stretched == pytest.approx(krippendorff_alpha(PUBLISHED, level="ordinal"))
    opposite = krippendorff_alpha([[0, 1, 0, 1], [1, 0, 1, 0]], level="interval")
    assert opposite == pytest.approx(1 - 7 / 4)  # Observed 1, expected 2*4*4/(8*7).
    noise = np.random.default_rng(0).integers(4, size=(5, 2000))
    assert abs(krippendorff_alpha(noise)) < 0.02


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="`table` must be"):
        krippendorff_alpha(np.ones(3))
    with pytest.raises(ValueError, match="`table` must be"):
        krippendorff_alpha([[1, np.inf], [1, 2]])
    with pytest.raises(ValueError, match="no unit"):
        krippendorff_alpha(np.array([[1, _], [_, 2]]))
    with pytest.raises(ValueError, match="`level`"):
        krippendorff_alpha(PUBLISHED, level="ratio")
