"""The metrics of the benchmark on known evidence, against hands and scikit-learn."""

import json
import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
import _bootstrap
import _localisation
import evidence

SHAPE = (5, 7, 9)  # T, H, W


@pytest.fixture
def mask():
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:4, 4:7] = True
    return mask


def point(at, shape=SHAPE):
    heat = np.zeros(shape)
    heat[at] = 1
    return heat


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((1, 2, 4), True),  # First voxel of the evidence, and the last one.
        ((2, 3, 6), True),
        ((1, 2, 1), True),  # 3 to the left of its corner; 4 to the left.
        ((1, 2, 0), False),
        ((2, 6, 6), True),  # 3 below.
        ((1, 5, 2), True),  # 2 and 2 beside the corner: 2.83 pixels.
        ((1, 5, 1), False),  # 2 and 3: 3.61 pixels, inside a square, not in a disc.
        ((1, 6, 4), True),
        ((1, 6, 3), False),  # 3 and 1: 3.16 pixels.
        ((0, 2, 4), False),  # The right place, a frame too early; a frame too late.
        ((3, 2, 4), False),
    ],
)
def test_hit_allows_three_pixels_within_the_frame(mask, at, expected):
    assert _localisation.hit(point(at), mask) is expected


def test_hit_takes_the_first_of_equal_maxima(mask):
    assert not _localisation.hit(point((0, 0, 0)) + point((1, 2, 4)), mask)
    assert _localisation.hit(point((1, 2, 4)) + point((4, 0, 0)), mask)
    assert not _localisation.hit(np.ones(SHAPE), mask)


def test_hit_without_tolerance_needs_the_evidence_itself(mask):
    assert _localisation.hit(point((1, 2, 4)), mask, tolerance=0)
    assert not _localisation.hit(point((1, 2, 3)), mask, tolerance=0)


@pytest.mark.parametrize("levels", [2, 7, 10**9])  # Many ties, some, none.
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_scikit_learns(levels, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(SHAPE) < 0.05 + 0.4 * seed
    heat = rng.integers(levels, size=SHAPE) / levels + 0.3 * mask
    expected = average_precision_score(mask.ravel(), heat.ravel())
    assert _localisation.average_precision(heat, mask) == pytest.approx(
        expected, rel=1e-12
    )


def test_average_precision_of_the_best_the_worst_and_a_constant_map(mask):
    n, k = mask.size, mask.sum()
    assert _localisation.average_precision(mask.astype(float), mask) == 1
    # All evidence at once, after everything else; and one by one.
    worst = (~mask).astype(float)
    assert _localisation.average_precision(worst, mask) == pytest.approx(k / n)
    distinct = np.where(mask, 0, n) + np.arange(n).reshape(SHAPE)
    by_hand = np.mean([i / (n - k + i) for i in range(1, k + 1)])
    assert _localisation.average_precision(distinct, mask) == pytest.approx(by_hand)
    constant = np.full(SHAPE, 0.3)
    assert _localisation.average_precision(constant, mask) == pytest.approx(k / n)


def test_energy_by_hand():
    # The worked case of the energy-based pointing game: 1.4 of 2.0.
    heat = np.array([[[0.1, 0.2, 0.0], [0.3, 0.9, 0.4], [0.0, 0.1, 0.0]]])
    mask = np.zeros((1, 3, 3), bool)
    mask[0, 1:, 1:] = True
    assert _localisation.energy(heat, mask) == pytest.approx(0.7)
    assert _localisation.energy(mask.astype(float), mask) == 1
    assert _localisation.energy((~mask).astype(float), mask) == 0
    assert _localisation.energy(np.full((1, 3, 3), 7.0), mask) == pytest.approx(4 / 9)
    assert _localisation.energy(np.zeros((1, 3, 3)), mask) == 0


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([0, 4, 4, 0, 0], 1),
        ([4, 0, 0, 4, 4], 0),
        ([1, 1, 1, 1, 1], 2 / 5),  # All hot.
        ([0, 4, 2, 0, 0], 1),  # Exactly in the middle counts as hot ...
        ([0, 4, 1.9, 0, 0], 1 / 2),  # ... just below does not.
        ([2, 4, 2.9, 2, 2], 1 / 2),  # The middle of the range, not half the maximum.
        ([0, 4, 4, 4, 0], 2 / 3),
    ],
)
def test_temporal_iou_by_hand(frames, expected):
    window = np.array([False, True, True, False, False])
    heat = np.zeros(SHAPE)
    heat[:, 3, 5] = np.array(frames) / 2  # Mass counts, however it is spread.
    heat[:, 0, 1] = np.array(frames) / 2
    assert _localisation.temporal_iou(heat, window) == pytest.approx(expected)


def test_bad_input_is_named(mask):
    heat = np.ones(SHAPE)
    for metric in (
        _localisation.hit,
        _localisation.average_precision,
        _localisation.energy,
    ):
        with pytest.raises(ValueError, match="`heat` must hold"):
            metric(-heat, mask)
        with pytest.raises(ValueError, match="`heat` must hold"):
            metric(heat * np.nan, mask)
        with pytest.raises(ValueError, match="`mask` must be bool and not empty"):
            metric(heat, np.zeros(SHAPE, bool))
        with pytest.raises(ValueError, match="`mask` must be bool"):
            metric(heat, mask.astype(float))
        with pytest.raises(ValueError, match="`mask` fit it"):
            metric(heat, mask[:, :-1])
    with pytest.raises(ValueError, match="`window` fit it"):
        _localisation.temporal_iou(heat, np.ones(4, bool))


def test_bootstrap_interval_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(3, 2, size=500)
    got = _bootstrap.estimate(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert got.mean == pytest.approx(values.mean(), rel=1e-12)
    np.testing.assert_allclose(
        (got.low, got.high), (got.mean - half, got.mean + half), atol=0.05 * half
    )


def test_bootstrap_intervals_cover_the_true_mean():
    # 400 data sets of 128 coin flips, as a hit rate is: 95 %, with a binomial standard
    # error of 1.1 points.
    flips = np.random.default_rng(2).random((400, 128)) < 0.7
    intervals = [
        _bootstrap.estimate(sample, resamples=1000, seed=i)
        for i, sample in enumerate(flips)
    ]
    covered = np.mean([i.low <= 0.7 <= i.high for i in intervals])
    assert 0.95 - 0.033 <= covered <= 0.95 + 0.033
    narrow = _bootstrap.estimate(flips[0], level=0.5)
    wide = _bootstrap.estimate(flips[0], level=0.95)
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_bootstrap_refuses_what_has_no_mean():
    for values in ([], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="`values`"):
            _bootstrap.estimate(values)


def test_controls_are_what_they_are_called():
    clip = np.random.default_rng(3).normal(size=(4, 7, 9, 3))
    motion = evidence._motion(clip, 0, key=None).values
    np.testing.assert_allclose(motion[3], np.abs(clip[3] - clip[2]).mean(-1))
    np.testing.assert_allclose(motion[0], motion[1])
    centre = evidence._centre(jnp.zeros((5, 7, 9, 3)), 0, key=None).values
    assert centre[2, 3, 4] == centre.max() == 1
    np.testing.assert_allclose(centre[2, 0, 4], np.exp(-4.5))  # Three sigma out.


def test_the_whole_benchmark_in_small(tmp_path, capsys):
    out = tmp_path / "new" / "evidence.json"
    names = ["integrated_gradients", "random"]
    evidence.main(
        [
            *("--split", "dev", "--clips", "5", "--chunk", "4", "--repeats", "2"),
            *("--rounds", "1", "--methods", *names, "--out", str(out)),
        ]
    )
    record = json.loads(out.read_text())
    assert list(record["rows"]) == names
    assert record["counted"] + len(record["misclassified"]) == record["clips"] == 5
    paths, chance = (record["rows"][name] for name in names)
    assert all(v == 0 for part in paths["difference"].values() for v in part.values())
    assert paths["gradients"] == 64
    assert paths["auprc"]["low"] > chance["auprc"]["high"]
    assert chance["auprc"]["mean"] == pytest.approx(record["evidence_share"], rel=0.1)
    assert chance["energy"]["mean"] == pytest.approx(record["evidence_share"], rel=0.1)
    gap = chance["energy"]["mean"] - paths["energy"]["mean"]
    assert chance["difference"]["energy"]["mean"] == pytest.approx(gap)
    table = capsys.readouterr().out
    assert all(f"| {name} | " in table for name in names)
    assert "▼" in table.splitlines()[-1]  # Chance stands below the reference.
