"""A map goes back to where the network's pixels came from."""

import numpy as np
import pytest

from jaxattr.data import Source
from jaxattr.data._geometry import apply, plan
from jaxattr.viz._to_source import to_source

CASES = [
    ((40, 60), (12, 15), (20, 30), None, "centre"),  # Half size, cropped.
    ((24, 30), (24, 30), None, None, "centre"),  # As it is.
    ((36, 50), (12, 15), (17, 25), (4, 6, 34, 46), (5, 3)),  # Box and corner.
    ((9, 11), (33, 28), (40, 30), None, "centre"),  # Enlarged for the network.
]


def source_of(old, size, resize, box, crop, count=3):
    return Source(
        path="a",
        indices=np.arange(count),
        times=np.arange(count) / 10,
        frames=np.zeros((count, *old, 3), np.uint8),
        geometry=plan(old, size, resize, box, crop),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_ramp_comes_back_to_its_place(case):
    source = source_of(*case)
    h, w = case[0]
    ramp = 3.0 * np.arange(h)[:, None] - 2.0 * np.arange(w) + 7
    seen = apply(ramp[..., None], source.geometry, False)[..., 0]
    values = np.stack([seen, 2 * seen, -seen])
    back = to_source(values, source, fill=np.nan)
    assert back.shape == (3, h, w)
    assert back.dtype == np.float32
    inside = ~np.isnan(back[0])
    # A linear ramp survives both ways, except where half a pixel is extrapolated at the
    # border of the crop or of the frame: one pixel of the clip, in source pixels.
    step = [np.ceil(b / r) for b, r in zip(box_size(source), source.geometry.resized)]
    rows, cols = np.where(inside)
    core = np.zeros_like(inside)
    core[
        rows.min() + int(step[0]) : rows.max() + 1 - int(step[0]),
        cols.min() + int(step[1]) : cols.max() + 1 - int(step[1]),
    ] = True
    assert core.sum() > 40
    for factor, got in zip((1, 2, -1), back):
        np.testing.assert_allclose(got[core], (factor * ramp)[core], atol=1e-3)


def box_size(source):
    top, left, bottom, right = source.geometry.box
    return bottom - top, right - left


def test_corners_of_a_cropped_map_land_where_geometry_says():
    # Frames 40x60, halved to 20x30, window of 12x16 at (4, 7): each clip pixel is 2x2
    # source pixels, and the window covers rows 8..31 and columns 14..45.
    source = source_of((40, 60), (12, 16), (20, 30), None, "centre")
    assert source.geometry.crop == (4, 7)
    values = np.zeros((3, 12, 16))
    values[0, 0, 0] = values[1, 0, 15] = values[2, 11, 15] = 1
    back = to_source(values, source, fill=-5)
    outside = np.ones((40, 60), bool)
    outside[8:32, 14:46] = False
    assert (back[:, outside] == -5).all()
    assert (back[:, ~outside] >= 0).all()
    for t, (row, col) in enumerate([(8, 14), (8, 45), (31, 45)]):
        down, right = (1 if row == 8 else -1), (1 if col == 14 else -1)
        # Bilinear at half size: 1 at the border, then 3/4 and 1/4 across.
        along = [back[t, row + i * down, col] for i in range(4)]
        np.testing.assert_allclose(along, [1, 0.75, 0.25, 0], atol=1e-6)
        along = [back[t, row, col + i * right] for i in range(4)]
        np.testing.assert_allclose(along, [1, 0.75, 0.25, 0], atol=1e-6)
        assert np.isclose(back[t, ~outside].sum(), 4, atol=1.2)


def test_same_size_is_the_identity_and_nan_stays_local():
    source = source_of((7, 9), (7, 9), None, None, "centre")
    values = np.random.default_rng(0).normal(size=(3, 7, 9)).astype(np.float32)
    np.testing.assert_array_equal(to_source(values, source), values)
    values[1, 3, 4] = np.nan
    assert np.isnan(to_source(values, source)).sum() <= 4


def test_a_map_of_one_pixel_covers_the_box():
    source = source_of((6, 8), (1, 1), None, (1, 2, 4, 7), "centre")
    back = to_source(np.full((3, 1, 1), 2.0), source)
    expected = np.zeros((6, 8))
    expected[1:4, 2:7] = 2
    np.testing.assert_array_equal(back[0], expected)


@pytest.mark.parametrize("shape", [(3, 12, 16), (2, 12, 15), (3, 12, 15, 3), (12, 15)])
def test_other_shapes_are_refused(shape):
    source = source_of((40, 60), (12, 15), (20, 30), None, "centre")
    with pytest.raises(ValueError, match=r"`values`.*\(3, 12, 15\)"):
        to_source(np.zeros(shape), source)
