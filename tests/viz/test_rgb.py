import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.viz import to_rgb


def _every_level():
    """uint8 [2, 8, 16, 3] that holds every level, in another order per channel."""
    levels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)
    return np.stack([levels, levels[::-1], levels[:, ::-1]], -1)


@pytest.mark.parametrize("scale", [1 / 255, 1.0])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_inverts_the_normalisation(spec, scale, order, dtype):
    spec.scale, spec.channel_order = scale, order
    rgb = _every_level()
    stored = rgb[..., ::-1] if order == "bgr" else rgb
    clip = jnp.asarray((stored * scale - spec.mean) / spec.std, dtype)
    got = to_rgb(clip, spec)
    assert got.dtype == np.uint8
    if dtype == np.float32:
        np.testing.assert_array_equal(got, rgb)
    elif scale == 1 / 255:  # Three digits: 8 bits of mantissa, twice rounded.
        assert np.abs(got.astype(int) - rgb).max() <= 2


def test_without_spec_stretches_to_the_full_range():
    clip = np.linspace(-3, 7, 2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    expected = np.rint((clip + 3) / 10 * 255)
    np.testing.assert_array_equal(to_rgb(clip), expected)


def test_bytes_without_spec_stay_as_they_are(rgb):
    np.testing.assert_array_equal(to_rgb(rgb), rgb)


def test_constant_clip_is_grey_and_nan_is_black():
    clip = np.full((1, 2, 3, 3), 5.0)
    assert (to_rgb(clip) == 128).all()
    clip[0, 0, 0] = np.nan
    clip[0, 1, 2] = 6.0
    got = to_rgb(clip)
    assert (got[0, 0, 0] == 0).all()
    assert (got[0, 1, 2] == 255).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_other_channel_counts_are_grey(channels):
    clip = np.zeros((1, 2, 3, channels), np.uint8)
    clip[0, 1, 1] = 80
    got = to_rgb(clip)
    assert got.shape == (1, 2, 3, 3)
    assert got[0, 1, 1].tolist() == [80, 80, 80]


@pytest.mark.parametrize(
    "clip", [np.zeros((2, 3, 4)), np.zeros((0, 3, 4, 3)), (np.zeros((1, 2, 3, 3)),) * 2]
)
def test_refuses_what_is_not_one_clip(clip):
    with pytest.raises(ValueError, match="`clip`"):
        to_rgb(clip)


def test_refuses_a_spec_for_other_channels(spec):
    with pytest.raises(ValueError, match="`spec` is for 3 channels"):
        to_rgb(np.zeros((1, 2, 3, 1)), spec)
