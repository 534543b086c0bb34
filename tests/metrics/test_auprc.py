"""Average precision of voxels against scikit-learn and counts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from jaxattr.metrics import auprc

SHAPE = (5, 7, 9)  # T, H, W


@pytest.fixture
def mask():
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:4, 4:7] = True
    return mask


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [2, 7, 10**9])  # Many ties, some, none.
@pytest.mark.parametrize("seed", range(3))
def test_is_scikit_learns(levels, seed, dtype):
    rng = np.random.default_rng(seed)
    mask = rng.random(SHAPE) < 0.05 + 0.4 * seed
    heat = (rng.integers(levels, size=SHAPE) / levels + 0.3 * mask - 0.5).astype(dtype)
    expected = average_precision_score(mask.ravel(), heat.ravel())
    got = auprc(heat, mask)
    assert got.auprc.dtype == dtype
    assert float(got.auprc) == pytest.approx(
        expected, rel=1e-12 if dtype == np.float64 else 1e-6
    )
    assert float(got.chance) == pytest.approx(mask.mean(), rel=1e-6)


def test_is_scikit_learns_at_the_size_of_a_clip_in_float32():
    rng = np.random.default_rng(0)
    mask = rng.random((16, 112, 112)) < 0.024
    noise = rng.normal(size=mask.shape)
    heat = (np.round(noise, 2) + mask).astype(np.float32)  # Some 700 groups of ties.
    for h in (heat, (noise + mask).astype(np.float32)):
        expected = average_precision_score(mask.ravel(), h.ravel())
        assert float(auprc(h, mask).auprc) == pytest.approx(expected, abs=1e-6)


def test_best_worst_and_constant_map(mask):
    n, k = mask.size, mask.sum()
    assert float(auprc(mask.astype(float), mask).auprc) == 1
    # All evidence at once, after everything else; and one by one.
    worst = (~mask).astype(float)
    assert float(auprc(worst, mask).auprc) == pytest.approx(k / n)
    distinct = np.where(mask, 0.0, n) + np.arange(n).reshape(SHAPE)
    by_hand = np.mean([i / (n - k + i) for i in range(1, k + 1)])
    assert float(auprc(distinct, mask).auprc) == pytest.approx(by_hand)
    for value in (0.3, 0.0, -2.0):
        got = auprc(np.full(SHAPE, value), mask)
        assert float(got.auprc) == pytest.approx(k / n)
        assert float(got.auprc) == pytest.approx(float(got.chance))
    zeros = np.where(mask, 0.0, -0.0)  # Equal, whatever their sign.
    assert float(auprc(zeros, mask).auprc) == pytest.approx(k / n)


def test_boxes_stand_for_the_mask(mask):
    heat = np.random.default_rng(0).normal(size=SHAPE)
    boxes = np.full((5, 4), np.nan)
    boxes[1:3] = (2, 4, 3, 6)
    assert float(auprc(heat, boxes).auprc) == float(auprc(heat, mask).auprc)


def test_jit_and_vmap_equal_the_loop(mask):
    heats = np.random.default_rng(0).integers(9, size=(3, *SHAPE)) / 9
    masks = np.stack([mask, ~mask, np.roll(mask, 1, 2)])
    loop = [auprc(h, m).auprc for h, m in zip(heats, masks)]
    np.testing.assert_allclose(jax.vmap(auprc)(heats, masks).auprc, loop, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(auprc)(heats[0], mask).auprc, loop[0])


def test_bad_input_raises_and_is_nan_under_a_trace(mask):
    heat = np.ones(SHAPE)
    with pytest.raises(ValueError, match="`heatmap` must be \\[T, H, W\\]"):
        auprc(heat[..., None], mask)
    with pytest.raises(ValueError, match="`truth` must be bool of"):
        auprc(heat, mask[:, :-1])
    with pytest.raises(ValueError, match="`truth` must be bool"):
        auprc(heat, mask.astype(float))
    with pytest.raises(TypeError, match="`heatmap` must be floating"):
        auprc(mask, mask)
    with pytest.raises(ValueError, match="`boxes`"):
        auprc(heat, np.zeros((4, 4)))
    broken = heat.copy()
    broken[0, 1, 2] = np.nan
    bad = [
        (broken, mask, "`heatmap` must be finite"),
        (np.full(SHAPE, np.inf), mask, "`heatmap` must be finite"),
        (heat, np.zeros(SHAPE, bool), "no evidence"),
        (heat, np.full((5, 4), np.nan), "no evidence"),
        (heat, np.tile([3.0, 2, 2, 5], (5, 1)), "`boxes`"),
    ]
    for h, truth, match in bad:
        with pytest.raises(ValueError, match=match):
            auprc(h, truth)
        got = jax.jit(auprc)(jnp.asarray(h), jnp.asarray(truth))
        assert np.isnan(got.auprc)
        assert np.isnan(got.chance)
