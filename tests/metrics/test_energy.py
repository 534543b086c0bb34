"""Energy inside the evidence, by hand."""

import jax
import numpy as np
import pytest

from jaxattr.metrics import boxes_to_mask, energy, energy_in_box

# The worked case of the energy-based pointing game: 1.4 of 2.0.
HEAT = np.array([[[0.1, 0.2, 0.0], [0.3, 0.9, 0.4], [0.0, 0.1, 0.0]]])
BOX = np.array([[1, 1, 2, 2]])


def test_the_worked_case():
    mask = np.asarray(boxes_to_mask(BOX, HEAT.shape))
    for got in (energy(HEAT, mask), energy(HEAT, BOX), energy_in_box(HEAT, BOX)):
        assert float(got.energy) == pytest.approx(0.7)
        assert float(got.chance) == pytest.approx(4 / 9)


def test_best_worst_constant_and_empty_map():
    mask = np.asarray(boxes_to_mask(BOX, HEAT.shape))
    assert energy(mask.astype(float), mask).energy == 1
    assert energy((~mask).astype(float), mask).energy == 0
    assert float(energy(np.full((1, 3, 3), 7.0), mask).energy) == pytest.approx(4 / 9)
    assert energy(np.zeros((1, 3, 3)), mask).energy == 0
    assert energy_in_box(np.zeros((1, 3, 3)), BOX).energy == 0


def test_only_frames_with_a_box_count_in_a_box():
    rng = np.random.default_rng(0)
    heat = rng.random((4, 6, 8))
    boxes = np.array([(1, 2, 3, 4), (-1,) * 4, (0, 0, 5, 1), (-1,) * 4])
    inside = heat[0, 1:4, 2:5].sum() + heat[2, :, :2].sum()
    got = energy_in_box(heat, boxes)
    assert float(got.energy) == pytest.approx(inside / heat[[0, 2]].sum())
    assert float(got.chance) == pytest.approx((9 + 12) / 96)
    whole = energy(heat, boxes)
    assert float(whole.energy) == pytest.approx(inside / heat.sum())
    assert float(whole.chance) == pytest.approx((9 + 12) / 192)
    for metric in (energy, energy_in_box):
        many = jax.vmap(metric, (0, None))(heat[None], boxes)
        np.testing.assert_allclose(many.energy[0], metric(heat, boxes).energy)


@pytest.mark.parametrize("metric", [energy, energy_in_box])
def test_heat_whose_sum_is_too_large_for_its_dtype(metric):
    big = (HEAT / 0.9 * 3e38).astype(np.float32)
    assert float(metric(big, BOX).energy) == pytest.approx(0.7)
    small = HEAT.astype(np.float32)
    got = jax.grad(lambda heat: metric(heat, BOX).energy)(small)
    inside = np.asarray(boxes_to_mask(BOX, HEAT.shape))
    np.testing.assert_allclose(got, (inside - 0.7) / 2.0, atol=1e-6)


def test_no_box_is_nan():
    boxes = np.full((1, 4), np.nan)
    assert np.isnan(energy_in_box(HEAT, boxes).energy)
    assert np.isnan(energy_in_box(HEAT, boxes).chance)
    with pytest.raises(ValueError, match="no evidence"):
        energy(HEAT, boxes)


@pytest.mark.parametrize("metric", [energy, energy_in_box])
def test_negative_and_missing_heat_raises_and_is_nan_under_a_trace(metric):
    for heat in (-HEAT, HEAT * np.nan, np.where(HEAT > 0.8, np.inf, HEAT)):
        with pytest.raises(ValueError, match="`heatmap` must be finite and not neg"):
            metric(heat, BOX)
        assert np.isnan(jax.jit(metric)(heat, BOX).energy)
