"""Boxes around hot components, against hands and a flood fill."""

import jax
import numpy as np
import pytest

from jaxattr.metrics import localisation_iou

# The worked case: at .25 of the maximum the box is (1, 0, 1, 2), at .5 (1, 1, 1, 1).
HEAT = np.array([[[0.1, 0.2, 0.0], [0.3, 0.9, 0.4], [0.0, 0.1, 0.0]]])


def flood(hot, start, seen):
    """Pixels connected to one by shared edges."""
    stack, found = [start], []
    while stack:
        y, x = at = stack.pop()
        inside = 0 <= y < hot.shape[0] and 0 <= x < hot.shape[1]
        if inside and hot[at] and at not in seen:
            seen.add(at)
            found.append(at)
            stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return found


def slow_box(frame, level):
    hot, seen, best = frame >= level * frame.max(), set(), []
    for at in np.ndindex(frame.shape):
        component = flood(hot, at, seen)
        if len(component) > len(best):
            best = component
    return (*np.min(best, 0), *np.max(best, 0))


def slow_iou(a, b, shape):
    masks = []
    for y0, x0, y1, x1 in (a, b):
        mask = np.zeros(shape, bool)
        mask[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] = True
        masks.append(mask)
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


def test_the_worked_case():
    got = localisation_iou(HEAT, np.array([[1, 1, 2, 2]]), thresholds=(0.25, 0.5))
    assert got.boxes[:, 0].tolist() == [[1, 0, 1, 2], [1, 1, 1, 1]]
    np.testing.assert_allclose(got.curve, [0.4, 0.25])
    assert (got.iou, got.threshold) == (pytest.approx(0.4), 0.25)


def test_is_the_slow_walk():
    rng = np.random.default_rng(0)
    heat = rng.random((4, 12, 15)) ** 3
    boxes = np.array([(2, 3, 8, 9), (-1,) * 4, (0, 0, 11, 14), (5, 5, 5, 5)])
    got = localisation_iou(heat, boxes)
    assert got.curve.shape == (19,)
    np.testing.assert_allclose(got.thresholds, np.arange(0.05, 0.96, 0.05))
    for level, drawn, mean in zip(got.thresholds, got.boxes, got.curve):
        expected = [slow_box(frame, level) for frame in heat]
        np.testing.assert_array_equal(drawn, expected)
        ious = [slow_iou(expected[t], boxes[t], (12, 15)) for t in (0, 2, 3)]
        assert mean == pytest.approx(np.mean(ious))
    assert got.iou == got.curve.max()
    assert got.threshold == got.thresholds[got.curve.argmax()]


def test_diagonal_neighbours_are_apart_and_the_first_of_equals_counts():
    heat = np.zeros((1, 4, 6))
    heat[0, 0, 4] = heat[0, 1, 3] = 1  # Touch at a corner.
    heat[0, 3, 0] = 1
    got = localisation_iou(heat, np.array([[0, 4, 0, 4]]))
    assert got.boxes[0, 0].tolist() == [0, 4, 0, 4]
    assert got.iou == 1


def test_constant_and_empty_maps():
    box = np.array([(1, 2, 3, 4)] * 2)
    constant = localisation_iou(np.full((2, 5, 8), 0.3), box)
    np.testing.assert_allclose(constant.curve, 9 / 40)
    half = np.zeros((2, 5, 8))
    half[0, 1:4, 2:5] = 1
    got = localisation_iou(half, box)  # Nothing in the second frame.
    np.testing.assert_allclose(got.curve, 0.5)
    assert np.isnan(got.boxes[:, 1]).all()
    assert localisation_iou(np.zeros((2, 5, 8)), box).iou == 0


def test_no_box_in_any_frame_is_nan():
    got = localisation_iou(HEAT, np.full((1, 4), np.nan))
    assert np.isnan([got.iou, got.threshold, *got.curve]).all()


def test_bad_input_is_named():
    box = np.array([[1, 1, 2, 2]])
    with pytest.raises(ValueError, match="`heatmap` must be finite and not negative"):
        localisation_iou(-HEAT, box)
    with pytest.raises(ValueError, match="in frame 0"):
        localisation_iou(HEAT, box + 3)
    for thresholds in ((), (0.0, 0.5), (1.1,), (np.nan,)):
        with pytest.raises(ValueError, match="`thresholds`"):
            localisation_iou(HEAT, box, thresholds=thresholds)
    with pytest.raises(TypeError, match="must be concrete"):
        jax.jit(localisation_iou)(HEAT, box)


@pytest.mark.parametrize(
    "box", [(-5, -5, 3, 3), (1.5, 1.5, 3.5, 3.5), (0, 2, 40, 40), (2, 3, 5, 6)]
)
def test_boxes_are_cut_to_the_pixels_that_they_hold(box):
    """A map of just these pixels is perfect, a constant one gets their share."""
    y, x = np.mgrid[:10, :12]
    inside = (box[0] <= y) & (y <= box[2]) & (box[1] <= x) & (x <= box[3])
    boxes = np.array([box], np.float64)
    assert localisation_iou(inside[None].astype(float), boxes).iou == 1
    constant = localisation_iou(np.ones((1, 10, 12)), boxes)
    np.testing.assert_allclose(constant.iou, inside.mean())
