import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from jaxattr.perturbation import (
    ExtremalConfig,
    extremal_perturbation,
    frequency_extremal_perturbation,
)
from jaxattr.perturbation._optimisers import low_pass

SHAPE = (6, 16, 22, 2)
CLIP = np.random.default_rng(0).normal(size=SHAPE)
WEIGHTS = np.random.default_rng(1).normal(size=(*SHAPE, 4)) / 8


def network(clip):
    return 3 * jnp.tanh(jnp.tensordot(clip, jnp.asarray(WEIGHTS, clip.dtype), 4))


def filtered(gradient, cutoffs):
    transform = low_pass(cutoffs)
    return transform.update(jnp.asarray(gradient), transform.init(gradient))[0]


@pytest.mark.parametrize("cutoffs", [(0.25, 0.5, 0.5), (0.1, math.inf, 2.0)])
def test_gradients_are_filtered_as_by_scipy(cutoffs):
    gradient = np.random.default_rng(2).normal(size=(3, 5, 7))
    index = np.meshgrid(*map(np.arange, gradient.shape), indexing="ij")
    square = sum(
        (k / (n * rho)) ** 2
        for k, n, rho in zip(index, gradient.shape, cutoffs, strict=True)
    )
    spectrum = scipy.fft.dctn(gradient, norm="ortho") * np.exp(-square / 2)
    want = scipy.fft.idctn(spectrum, norm="ortho")
    np.testing.assert_allclose(filtered(gradient, cutoffs), want, atol=1e-12)


def test_only_the_mean_over_time_is_left_of_a_tiny_cutoff():
    gradient = np.arange(8.0).reshape(2, 2, 2) ** 2
    got = filtered(gradient, (1e-3, math.inf, math.inf))
    for frame in got:
        np.testing.assert_allclose(frame.ravel(), [8, 13, 20, 29], rtol=1e-12)


@pytest.mark.parametrize("preset", ["fast", "paper"])
@pytest.mark.slow
def test_without_cutoffs_it_is_extremal_perturbation_bit_for_bit(preset):
    settings = {"areas": (0.1, 0.3), "preset": preset, "num_iterations": 5}
    settings["ties"] = "expected"
    plain = extremal_perturbation(network, **settings)(CLIP, 1)
    got = frequency_extremal_perturbation(
        network, cutoffs=(math.inf, math.inf), **settings
    )(CLIP, 1)
    np.testing.assert_array_equal(got.masks, plain.masks)
    np.testing.assert_array_equal(got.history.reward, plain.history.reward)
    wide = frequency_extremal_perturbation(network, cutoffs=(1e9, 1e9), **settings)
    np.testing.assert_allclose(wide(CLIP, 1).masks, plain.masks, atol=1e-9)


def test_masks_change_less_from_frame_to_frame():
    settings = {"areas": (0.2,), "preset": ExtremalConfig(ties="expected")}
    settings["num_iterations"] = 40
    rough, smooth = (
        frequency_extremal_perturbation(network, cutoffs=cutoffs, **settings)(CLIP, 1)
        for cutoffs in ((math.inf, math.inf), (0.1, math.inf))
    )
    change, less = (np.abs(np.diff(r.masks[0], axis=0)).mean() for r in (rough, smooth))
    assert change > 1e-3
    assert less < 0.3 * change


@pytest.mark.parametrize("cutoffs", [0.5, (0.5,), (0, 1), (1, -1), (1, float("nan"))])
def test_bad_cutoffs_are_named(cutoffs):
    with pytest.raises(ValueError, match="`cutoffs`"):
        frequency_extremal_perturbation(network, areas=(0.1,), cutoffs=cutoffs)
