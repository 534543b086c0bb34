"""Boxes and masks, pixel by pixel."""

import jax
import numpy as np
import pytest

from jaxattr.metrics import boxes_to_mask, mask_to_boxes

SHAPE = (5, 7, 9)  # T, H, W
NONE = (np.nan,) * 4


def pixel_by_pixel(boxes, shape):
    mask = np.zeros(shape, bool)
    for t, y, x in np.ndindex(shape):
        y0, x0, y1, x1 = boxes[t]
        if not np.isnan(y0) and (y0, x0, y1, x1) != (-1,) * 4:
            mask[t, y, x] = y0 <= y <= y1 and x0 <= x <= x1
    return mask


def test_a_box_fills_its_pixels():
    boxes = np.array(
        [(2, 3, 4, 7), NONE, (6, 8, 6, 8), (-2.0, 1.5, 0.9, 30), (-1, -1, 2, 2)]
    )
    got = boxes_to_mask(boxes, SHAPE)
    np.testing.assert_array_equal(got, pixel_by_pixel(boxes, SHAPE))
    assert got.sum((1, 2)).tolist() == [15, 0, 1, 7, 9]
    np.testing.assert_array_equal(
        jax.jit(boxes_to_mask, static_argnums=1)(boxes, SHAPE), got
    )


def test_integer_boxes_say_minus_one_where_there_is_none():
    boxes = np.array([(0, 0, 6, 8)] + [(-1,) * 4] * 4)
    got = boxes_to_mask(boxes, SHAPE)
    assert got[0].all()
    assert not got[1:].any()


def test_the_tightest_box_of_a_mask():
    mask = np.zeros(SHAPE, bool)
    mask[0, 2:5, 3:8] = True
    mask[2, 6, 8] = mask[3, 1, 8] = mask[3, 4, 0] = True
    boxes = np.asarray(mask_to_boxes(mask))
    expected = [(2, 3, 4, 7), NONE, (6, 8, 6, 8), (1, 0, 4, 8), NONE]
    np.testing.assert_array_equal(boxes, expected)
    again = mask_to_boxes(boxes_to_mask(boxes, SHAPE))
    np.testing.assert_array_equal(again, boxes)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"`boxes` must be \[5, 4\]"):
        boxes_to_mask(np.zeros((4, 4)), SHAPE)
    with pytest.raises(ValueError, match="`mask` must be bool"):
        mask_to_boxes(np.zeros(SHAPE))
