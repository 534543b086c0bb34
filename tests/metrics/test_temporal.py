"""Localisation in time, by hand."""

import jax
import numpy as np
import pytest

from jaxattr.metrics import temporal_iou, temporal_pointing

WINDOW = np.array([False, True, True, False, False])


def film(frames, shape=(7, 9)):
    """A map whose frames sum to given numbers, however the heat is spread."""
    heat = np.zeros((len(frames), *shape))
    heat[:, 3, 5] = np.array(frames) / 4
    heat[:, 0, 1] = 3 * np.array(frames) / 4
    return heat


@pytest.mark.parametrize(
    ("frames", "iou"),
    [
        ([0, 4, 4, 0, 0], 1),
        ([4, 0, 0, 4, 4], 0),
        ([1, 1, 1, 1, 1], 2 / 5),  # All hot.
        ([0, 4, 2, 0, 0], 1),  # Exactly in the middle counts as hot ...
        ([0, 4, 1.9, 0, 0], 1 / 2),  # ... just below does not.
        ([2, 4, 2.9, 2, 2], 1 / 2),  # The middle of the range, not half the maximum.
        ([-4, 0, 0, -4, -4], 1),
        ([0, 4, 4, 4, 0], 2 / 3),
    ],
)
def test_iou_by_hand(frames, iou):
    got = temporal_iou(film(frames), WINDOW)
    assert float(got.iou) == pytest.approx(iou)
    assert float(got.constant) == pytest.approx(0.4)
    np.testing.assert_allclose(jax.jit(temporal_iou)(film(frames), WINDOW).iou, got.iou)


@pytest.mark.parametrize(
    ("frames", "frame", "hit"),
    [
        ([0, 1, 3, 2, 0], 2, 1),
        ([0, 1, 2, 3, 0], 3, 0),
        ([-3, -1, -2, -3, -3], 1, 1),
        ([0, 5, 0, 5, 5], 1, 1),  # The first of equals.
        ([5, 5, 5, 0, 0], 0, 0),
        ([1, 1, 1, 1, 1], 0, 0),
        ([0, 0, 0, 0, 0], 0, 0),
    ],
)
def test_pointing_by_hand(frames, frame, hit):
    got = temporal_pointing(film(frames), WINDOW)
    assert (int(got.frame), float(got.hit)) == (frame, hit)
    assert float(got.chance) == pytest.approx(0.4)


def test_the_sum_of_a_frame_counts_not_its_peak():
    heat = np.zeros((5, 7, 9))
    heat[1] = 0.5
    heat[3, 2, 2] = 9
    assert temporal_pointing(heat, WINDOW).frame == 1


def test_sums_of_a_frame_do_not_overflow():
    heat = film([0, 3, 4, 1, 0]) * 0.9e38  # The largest of float32 is 3.4e38.
    heat = np.repeat(heat.astype(np.float32), 3, 1)
    with np.errstate(over="ignore"):
        assert np.isinf(heat.sum((1, 2))).any()
    assert temporal_iou(heat, WINDOW).hot.tolist() == [False, True, True, False, False]
    assert temporal_pointing(heat, WINDOW).frame == 2


def test_vmap_equals_loop():
    rng = np.random.default_rng(0)
    heats, windows = rng.normal(size=(6, 5, 7, 9)), rng.random((6, 5)) < 0.5
    windows[:, 2] = True
    for metric in (temporal_iou, temporal_pointing):
        many = jax.vmap(metric)(heats, windows)
        loop = [metric(h, w)[0] for h, w in zip(heats, windows)]
        np.testing.assert_allclose(many[0], loop)


@pytest.mark.parametrize("metric", [temporal_iou, temporal_pointing])
def test_bad_input_raises_and_is_nan_under_a_trace(metric):
    heat = film([0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"`window` must be bool \[5\]"):
        metric(heat, WINDOW[:4])
    with pytest.raises(ValueError, match="`window` must be bool"):
        metric(heat, WINDOW.astype(int))
    with pytest.raises(ValueError, match="`heatmap`"):
        metric(heat[0], WINDOW)
    for h, window, match in (
        (heat * np.nan, WINDOW, "`heatmap` must be finite"),
        (heat, np.zeros(5, bool), "`window` is empty"),
    ):
        with pytest.raises(ValueError, match=match):
            metric(h, window)
        assert np.isnan(jax.jit(metric)(h, window)[0])
