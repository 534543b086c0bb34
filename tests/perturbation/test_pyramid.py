import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.perturbation._pyramid import blur_pyramid, show


def _slow_blur(frame, sigma):
    """[H, W] correlated with a truncated Gaussian, zeros outside."""
    reach = math.ceil(4 * sigma)
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-((offsets / (math.sqrt(2) * sigma + 1.19e-7)) ** 2))
    taps /= taps.sum()
    for axis in range(2):
        out = np.zeros_like(frame)
        for i in range(frame.shape[axis]):
            for offset, tap in zip(offsets, taps, strict=True):
                if 0 <= i + offset < frame.shape[axis]:
                    row = frame.take(i + offset, axis)
                    np.moveaxis(out, axis, 0)[i] += tap * row
        frame = out
    return frame


def test_blur_levels_match_a_loop():
    clip = np.random.default_rng(0).normal(size=(2, 13, 17, 3))
    pyramid = blur_pyramid(jnp.asarray(clip), 5.0)
    assert pyramid.shape == (8, 2, 13, 17, 3)
    for level in (0, 3, 6):  # The kernel of level 0 is wider than the frame.
        sigma = 5.0 * (1 - level / 7)
        for t, c in [(0, 0), (1, 2)]:
            expected = _slow_blur(clip[t, ..., c], sigma)
            np.testing.assert_allclose(pyramid[level, t, ..., c], expected, atol=1e-14)
    np.testing.assert_array_equal(pyramid[7], clip)


def test_masks_pick_between_levels():
    pyramid = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2, 3, 4, 2)))
    shape = (2, 3, 4)
    np.testing.assert_array_equal(show(pyramid, jnp.ones(shape)), pyramid[7])
    np.testing.assert_array_equal(show(pyramid, jnp.zeros(shape)), pyramid[0])
    half = show(pyramid, jnp.full(shape, 0.5))
    np.testing.assert_allclose(half, 0.5 * (pyramid[3] + pyramid[4]), rtol=1e-14)


def test_slope_is_the_difference_of_the_neighbours():
    pyramid = np.random.default_rng(0).normal(size=(8, 1, 1, 6, 3))
    mask = jnp.array([[[0.0, 0.05, 0.5, 0.93, 1.0, 1.0 + 1e-9]]])
    slope = jax.grad(lambda m: show(jnp.asarray(pyramid), m).sum())(mask)
    levels = [0, 0, 3, 6, 6, 6]
    for x, level in enumerate(levels):
        step = 7 * (pyramid[level + 1, 0, 0, x] - pyramid[level, 0, 0, x]).sum()
        np.testing.assert_allclose(slope[0, 0, x], step, rtol=1e-12)
