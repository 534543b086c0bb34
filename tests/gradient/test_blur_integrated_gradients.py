import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxattr import blur_integrated_gradients

CLIP = np.random.default_rng(0).normal(size=(2, 9, 11, 3))
WEIGHT = np.random.default_rng(1).normal(size=(2, 9, 11, 3))


def blur(clip, sigma):
    """SciPy's Gaussian, every frame, zeros outside, cut at ceil(4 sigma)."""
    reach = int(np.ceil(4 * sigma))
    for axis in (1, 2):
        clip = ndimage.gaussian_filter1d(
            clip, sigma, axis=axis, mode="constant", radius=reach
        )
    return clip


@pytest.mark.parametrize("num_steps", [1, 4])
def test_quadratic_score_matches_a_slow_writing(num_steps):
    f = lambda x: jnp.stack([(WEIGHT * x**2).sum(), x.sum()])
    got = blur_integrated_gradients(f, max_sigma=3.0, num_steps=num_steps)(
        jnp.asarray(CLIP), 0
    )
    widths = np.linspace(0, 3, num_steps + 1)
    levels = [CLIP] + [blur(CLIP, s) for s in widths[1:]]
    want = np.zeros_like(CLIP)
    for k in range(num_steps):
        middle = blur(CLIP, (widths[k] + widths[k + 1]) / 2)
        want += (levels[k] - levels[k + 1]) * 2 * WEIGHT * middle
    np.testing.assert_allclose(got.values, want, rtol=1e-5, atol=1e-6)
    change = (WEIGHT * (CLIP**2 - levels[-1] ** 2)).sum()
    np.testing.assert_allclose(got.residual, change - want.sum(), atol=1e-5)


def test_a_linear_score_is_complete():
    f = lambda x: jnp.stack([(WEIGHT * x).sum(), x.sum()])
    got = blur_integrated_gradients(f, max_sigma=20.0, num_steps=3)(
        jnp.asarray(CLIP), 0
    )
    np.testing.assert_allclose(got.residual, 0, atol=1e-10)


def test_error_falls_with_the_square_of_the_steps():
    f = lambda x: jnp.stack([jnp.cos(2 * x).sum(), x.sum()])
    residuals = [
        abs(
            float(
                blur_integrated_gradients(f, max_sigma=8.0, num_steps=n)(
                    jnp.asarray(CLIP), 0
                ).residual
            )
        )
        for n in (64, 128, 256)
    ]
    # Taps appear at multiples of a quarter pixel: order two up to their tiny jumps.
    assert residuals[0] / residuals[2] > 8


def test_settings_are_checked():
    f = lambda x: x.mean((0, 1, 2))
    for sigma in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`max_sigma`"):
            blur_integrated_gradients(f, max_sigma=sigma)
    with pytest.raises(ValueError, match="`clip` must be one array"):
        blur_integrated_gradients(f)({"rgb": jnp.asarray(CLIP)}, 0)
