"""Resizing and cropping against torch, torchvision and Pillow."""

import numpy as np
import pytest

from jaxattr.data._geometry import apply, plan

SIZES = [
    ((256, 340), (128, 171)),  # The aspect changes.
    ((37, 53), (112, 90)),  # One axis grows more than the other.
    ((64, 20), (7, 33)),
    ((5, 1), (3, 4)),
]


def pixels(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def ours(frame, new, antialias):
    return apply(frame, plan(frame.shape[:2], new, None, None, "centre"), antialias)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_is_that_of_torch(old, new, antialias):
    torch = pytest.importorskip("torch")
    frame = pixels(old)
    expected = torch.nn.functional.interpolate(
        torch.tensor(frame).permute(2, 0, 1)[None].double() / 255,
        size=new,
        mode="bilinear",
        align_corners=False,
        antialias=antialias,
    )[0].permute(1, 2, 0)
    got = ours(frame, new, antialias) / 255
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_antialiased_resize_is_that_of_pillow(old, new):
    image = pytest.importorskip("PIL.Image")
    frame = pixels(old)
    expected = image.fromarray(frame).resize(new[::-1], image.Resampling.BILINEAR)
    # Pillow rounds to whole grey levels after each axis.
    assert np.abs(ours(frame, new, True) - np.asarray(expected)).max() <= 1.01


@pytest.mark.parametrize("resize", [(128, 171), 131, (113, 115)])
@pytest.mark.parametrize("old", [(256, 340), (90, 77), (240, 426)])
def test_resize_and_crop_are_those_of_torchvision(old, resize):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.functional")
    frame = pixels(old)
    tensor = torch.tensor(frame).permute(2, 0, 1)
    whole = functional.resize(
        tensor, [resize] if isinstance(resize, int) else resize, antialias=False
    )
    expected = functional.center_crop(whole, [112, 111]).permute(1, 2, 0).numpy()
    geometry = plan(old, (112, 111), resize, None, "centre")
    assert geometry.resized == tuple(whole.shape[1:])
    got = np.round(apply(frame, geometry, False))
    wrong = np.abs(got - expected)
    assert wrong.max() <= 1  # Halves, rounded after sums in another order.
    assert (wrong > 0).mean() < 5e-3


def test_box_comes_before_the_resize_and_crop_after():
    frame = pixels((40, 60))
    geometry = plan((40, 60), (6, 7), (20, 30), (3, 5, 33, 50), (9, 2))
    whole = ours(frame[3:33, 5:50], (20, 30), False)
    np.testing.assert_allclose(
        apply(frame, geometry, False), whole[9:15, 2:9], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("argument", "setting"),
    [
        ("box", {"box": (0, 0, 41, 60)}),
        ("box", {"box": (5, 0, 5, 60)}),
        ("box", {"box": (-1, 0, 5, 60)}),
        ("box", {"box": (0.0, 0.0, 1.0, 1.0)}),
        ("box", {"box": (0, 0, 40)}),
        ("crop", {"crop": (15, 0)}),
        ("crop", {"crop": (0, -1)}),
        ("crop", {"crop": "center"}),
        ("crop", {"crop": None}),
        ("spec", {"resize": (20, 6)}),
        ("spec", {"resize": 5}),
    ],
)
def test_what_does_not_fit_is_named(argument, setting):
    settings = {"resize": (20, 30), "box": None, "crop": "centre"} | setting
    with pytest.raises(ValueError, match=f"`{argument}`"):
        plan((40, 60), (6, 7), **settings)
