"""Degraded clips against loops, and retraining where the answer is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import metrics

SHAPE = (3, 4, 6, 2)  # T, H, W, C all differ.
KEY = jax.random.key(0)


def slow_degrade(clip, heat, removed, keep, substitute):
    """Removes voxel by voxel, hottest or coldest first."""
    clip = clip.copy()
    sites = sorted(
        np.ndindex(heat.shape), key=lambda at: heat[at] if keep else -heat[at]
    )
    for t, y, x in sites[:removed]:
        clip[t, y, x] = substitute
    return clip


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_degrade_removes_what_a_loop_removes(keep, dtype):
    rng = np.random.default_rng(0)
    clips = rng.integers(1, 255, size=(17, *SHAPE)).astype(dtype)  # Over a chunk.
    heat = rng.integers(0, 9, size=(17, *SHAPE[:3])).astype(np.float32)  # Ties.
    before = clips.copy()
    for ratio, num in ((0.0, 0), (0.3, 21), (0.5, 36), (1.0, 72)):
        removed = math.floor((1 - ratio) * 72) if keep else num
        substitute = np.array([7, 9], dtype)
        got = metrics.degrade(clips, heat, ratio, keep=keep, substitute=substitute)
        assert got.dtype == dtype
        for one, clip, map_ in zip(got, clips, heat):
            expected = slow_degrade(clip, map_, removed, keep, substitute)
            np.testing.assert_array_equal(one, expected)
    np.testing.assert_array_equal(clips, before)


@pytest.mark.parametrize(
    ("ratio", "keep", "gone"), [(0.29, False, 29), (0.9, True, 10), (0.7, True, 30)]
)
def test_counts_are_not_lost_to_rounding(ratio, keep, gone):
    clips = np.ones((1, 1, 10, 10, 1), np.float32)
    heat = np.arange(100, dtype=np.float32).reshape(1, 1, 10, 10)
    got = metrics.degrade(clips, heat, ratio, keep=keep)
    assert (got == 0).sum() == gone


def test_blocks_go_by_their_mean():
    clips = np.ones((1, 2, 4, 6, 1), np.float32)
    heat = np.zeros((1, 2, 4, 6), np.float32)
    heat[0, 1, 2, 3] = 3.0  # The hottest voxel, in a block of 1/6 x 3.
    heat[0, 0, :2, :3] = 1.0
    got = metrics.degrade(clips, heat, 1 / 8, unit="block", block=(2, 3))
    expected = np.ones((2, 4, 6))
    expected[0, :2, :3] = 0
    np.testing.assert_array_equal(got[0, ..., 0], expected)
    got = metrics.degrade(clips, heat, 0.5, unit="frame")
    np.testing.assert_array_equal(got[0].mean((1, 2, 3)), [0, 1])


def nearest_prototype(clips, targets, *, key):
    """A linear network that is trained by hand: the mean clip of every class."""
    means = np.stack([clips[targets == c].mean(0) for c in range(2)])
    weight = 2 * means
    bias = -(means**2).sum((1, 2, 3, 4))
    return jax.tree_util.Partial(_linear, jnp.asarray(weight), jnp.asarray(bias))


def _linear(weight, bias, clip):
    return jnp.tensordot(weight, clip, 4) + bias


def evidence(num, seed):
    """Noise; a box at a random place is 3 in class 1 and -3 in class 0."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(num) % 2)
    clips = rng.normal(size=(num, 4, 6, 5, 1))
    masks = np.zeros(clips.shape[:4])
    for clip, mask, target in zip(clips, masks, targets):
        t, y = rng.integers(0, 3), rng.integers(0, 4)
        mask[t : t + 2, y : y + 3, 1:3] = 1
        clip[mask > 0] = 6 * target - 3.0
    return metrics.Explained(clips, masks, targets)


SHARE = 12 / 120


def test_evidence_removed_leaves_chance_and_evidence_kept_leaves_all():
    train, test = evidence(200, 0), evidence(100, 1)
    remove = metrics.remove_and_retrain(nearest_prototype, ratios=(0.0, SHARE))
    kept = metrics.keep_and_retrain(nearest_prototype, ratios=(SHARE, 1.0))
    removed, kept = (measure(train, test, key=KEY) for measure in (remove, kept))
    assert removed.accuracy[0] > 0.95
    assert removed.low[1] <= 0.5 <= removed.high[1]  # Half of the clips each.
    np.testing.assert_array_equal(kept.accuracy[0], 1)
    # All of a clip is kept as nothing of it is removed.
    np.testing.assert_array_equal(kept.correct[1], removed.correct[0])
    assert removed.correct.shape == (2, 1, 100)
    mean = removed.correct[0, 0].mean()
    expected = metrics.paired_bootstrap(removed.correct[0, 0])
    np.testing.assert_allclose(removed.accuracy[0], mean)
    np.testing.assert_allclose((removed.low[0], removed.high[0]), expected[1:])


def test_a_map_that_misses_the_evidence_is_told_apart():
    train, test = evidence(200, 0), evidence(100, 1)
    wrong = [one._replace(heatmaps=1 - one.heatmaps) for one in (train, test)]
    kept = metrics.keep_and_retrain(nearest_prototype, ratios=(SHARE,))
    right, missed = kept(train, test, key=KEY), kept(*wrong, key=KEY)
    assert right.low[0] > missed.high[0]


def test_every_training_has_its_key_and_the_clips_of_its_ratio():
    seen = []

    def train(clips, targets, *, key):
        seen.append((jax.random.key_data(key).tolist(), (clips == 0).mean()))
        return lambda clip: jnp.zeros(2)

    data = evidence(8, 0)
    measure = metrics.remove_and_retrain(train, ratios=(0.1, 0.5), num_trainings=2)
    found = measure(data, data, key=KEY)
    assert len({tuple(key) for key, _ in seen}) == 4
    np.testing.assert_allclose([share for _, share in seen], [0.1, 0.1, 0.5, 0.5])
    np.testing.assert_array_equal(found.accuracy, 0.5)  # Class 0, always.


def test_networks_are_asked_about_degraded_clips():
    def train(clips, targets, *, key):
        def f(clip):  # Class 1 where more than half is gone.
            return jax.nn.one_hot(((clip == 0).mean() > 0.5).astype(int), 2)

        return f

    data = evidence(20, 0)._replace(targets=np.ones(20, int))
    removed = metrics.remove_and_retrain(train, ratios=(0.1, 0.6))
    kept = metrics.keep_and_retrain(train, ratios=(0.1, 0.7))
    np.testing.assert_array_equal(removed(data, data, key=KEY).accuracy, [0, 1])
    np.testing.assert_array_equal(kept(data, data, key=KEY).accuracy, [1, 0])


def test_a_network_that_diverged_is_right_about_no_class():
    """The largest of NaNs is the first: class 0 by luck, were it not told."""

    def train(clips, targets, *, key):
        return lambda clip: jnp.full(2, jnp.nan)

    data = evidence(8, 0)
    measure = metrics.remove_and_retrain(train, ratios=(0.1, 0.5))
    with pytest.raises(ValueError, match=r"`train` .* NaN.* ratio 0\.1"):
        measure(data, data, key=KEY)


def test_mistakes_are_told():
    data = evidence(4, 0)
    clips, heat = data.clips, data.heatmaps
    for match, call in {
        "heatmaps": lambda: metrics.degrade(clips, heat[:, 1:], 0.5),
        "finite": lambda: metrics.degrade(clips, heat * np.nan, 0.5),
        "ratio": lambda: metrics.degrade(clips, heat, 1.1),
        "unit": lambda: metrics.degrade(clips, heat, 0.5, unit="supervoxel"),
        "block": lambda: metrics.degrade(clips, heat, 0.5, unit="block", block=4),
        "substitute": lambda: metrics.degrade(clips, heat, 0.5, substitute=[0, 1]),
        "`substitute` .* uint8": lambda: metrics.degrade(
            clips.astype(np.uint8), heat, 0.5, substitute=0.45
        ),
        "`substitute` .* 0 to 255": lambda: metrics.degrade(
            clips.astype(np.uint8), heat, 0.5, substitute=-1
        ),
        "at least one": lambda: metrics.keep_and_retrain(nearest_prototype, ratios=()),
        "num_trainings": lambda: metrics.keep_and_retrain(
            nearest_prototype, num_trainings=0
        ),
        "key": lambda: metrics.keep_and_retrain(nearest_prototype)(data, data),
        "test_set": lambda: metrics.keep_and_retrain(nearest_prototype)(
            data, data._replace(targets=data.targets[:2]), key=KEY
        ),
    }.items():
        with pytest.raises(ValueError, match=match):
            call()
