import matplotlib
import numpy as np
import pytest

from jaxattr.viz import outline, overlay

TOP = (252, 255, 164)  # The last colour of inferno, as published.


def test_no_heat_leaves_the_frame_alone(rgb):
    np.testing.assert_array_equal(overlay(rgb, np.zeros(rgb.shape[:3])), rgb)


def test_full_heat_is_the_colour(rgb):
    got = overlay(rgb, np.ones(rgb.shape[:3]), alpha=1.0)
    assert (got == TOP).all()


def test_in_between_mixes_by_the_formula(rgb):
    heat = np.random.default_rng(0).random(rgb.shape[:3])
    got = overlay(rgb, heat, colormap="viridis", alpha=0.6)
    table = matplotlib.colormaps["viridis"]
    for t, y, x in [(0, 0, 0), (4, 23, 31), (2, 7, 19)]:
        v = heat[t, y, x]
        colour = np.rint(np.asarray(table(round(v * 255)))[:3] * 255)
        opacity = 0.6 * v * (2 - v)
        expected = (1 - opacity) * rgb[t, y, x] + opacity * colour
        assert np.abs(got[t, y, x] - expected).max() <= 0.5


def test_heat_shows_on_black_and_on_white():
    """Middle values must be visible on any frame: 40 of 255 levels somewhere."""
    heat = np.full((1, 4, 5), 0.5)
    for level in (0, 255):
        frame = np.full((1, 4, 5, 3), level, np.uint8)
        change = np.abs(overlay(frame, heat).astype(int) - level)
        assert change.max() >= 40


@pytest.mark.parametrize(
    ("heat", "settings", "name"),
    [
        (np.zeros((5, 24, 31)), {}, "`heatmap`"),
        (np.full((5, 24, 32), 1.5), {}, "to_heatmap"),
        (np.full((5, 24, 32), np.nan), {}, "`heatmap`"),
        (np.zeros((5, 24, 32)), {"alpha": 1.1}, "`alpha`"),
        (np.zeros((5, 24, 32)), {"colormap": "nope"}, "`colormap`"),
    ],
)
def test_bad_input_names_the_argument(rgb, heat, settings, name):
    with pytest.raises(ValueError, match=name):
        overlay(rgb, heat, **settings)


def test_floating_frames_are_refused(rgb):
    with pytest.raises(ValueError, match="`rgb` must be uint8"):
        overlay(rgb / 255, np.zeros(rgb.shape[:3]))


def test_outline_of_a_rectangle():
    rgb = np.full((2, 9, 11, 3), 90, np.uint8)
    mask = np.zeros((2, 9, 11))
    mask[1, 2:6, 3:9] = 0.5  # At the level counts as inside.
    got = outline(rgb, mask, colour=(1, 2, 3))
    np.testing.assert_array_equal(got[0], rgb[0])
    line = np.zeros((9, 11), bool)
    line[2:6, 3:9] = True
    line[3:5, 4:8] = False  # The inside of a 4x6 rectangle.
    np.testing.assert_array_equal((got[1] == (1, 2, 3)).all(-1), line)
    assert (got[1, 1, 3:9] == 30).all()  # A dark seam around it,
    assert (got[1, 1, 2] == 90).all()  # but not on the diagonal,
    assert (got[1, 3:5, 4:8] == 90).all()  # and nothing inside.


def test_outline_is_open_where_the_mask_leaves_the_frame():
    rgb = np.full((1, 6, 7, 3), 90, np.uint8)
    mask = np.zeros((1, 6, 7))
    mask[0, :, :3] = 1
    drawn = (outline(rgb, mask, colour=(1, 2, 3))[0] == (1, 2, 3)).all(-1)
    expected = np.zeros((6, 7), bool)
    expected[:, 2] = True
    np.testing.assert_array_equal(drawn, expected)


def test_outline_refuses_another_shape(rgb):
    with pytest.raises(ValueError, match="`mask`"):
        outline(rgb, np.zeros((5, 24, 31)))
