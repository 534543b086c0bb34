import pytest

from jaxattr.perturbation import mask_geometry


@pytest.mark.parametrize(
    ("side", "sizes", "canvas"),
    [
        (112, {}, 134),
        (224, {}, 260),
        (224, {"sigma": 21}, 260),
        (224, {"step": 14}, 267),
        (56, {}, 61),
        (56, {"sigma": 4}, 61),
    ],
)
def test_canvas_has_the_published_size(side, sizes, canvas):
    assert mask_geometry((16, side, side), **sizes).canvas == (canvas, canvas)


def test_published_sizes():
    small, large = (mask_geometry((16, n, n)) for n in (112, 224))
    assert (small.step, small.sigma, small.blur) == (7, 11, 20)
    assert (large.step, large.sigma, large.blur) == (7, 23, 20)
    assert (small.core_frames, small.core_size) == (8, 11)
    assert (large.core_frames, large.core_size) == (8, 11)
    assert (small.window**2, large.window**2) == (49, 121)
    assert (small.pad, large.pad) == (5, 8)


def test_sizes_between_are_in_proportion():
    geometry = mask_geometry((5, 56, 80))
    assert (geometry.step, geometry.sigma) == (4, 5)
    assert (geometry.core_frames, geometry.core_size) == (3, 5)
    assert geometry.blur == 10
    assert geometry.grid == (14, 20)


@pytest.mark.parametrize("height", [7, 15, 31, 56, 90, 112, 130, 171, 224, 256])
@pytest.mark.parametrize("width", [9, 40, 112, 224, 341])
def test_canvas_always_covers_the_frame(height, width):
    geometry = mask_geometry((3, height, width))
    assert geometry.canvas[0] >= geometry.margin + height
    assert geometry.canvas[1] >= geometry.margin + width


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ({"sigma": 6}, "sigma"),
        ({"sigma": 5.5}, "sigma"),
        ({"sigma": 0}, "sigma"),
        ({"step": 0}, "step"),
        ({"step": 2.5}, "step"),
        ({"blur": -1}, "blur"),
        ({"core_frames": 17}, "core_frames"),
        ({"core_size": 62}, "core_size"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        mask_geometry((16, 56, 56), **sizes)
