"""What hidden voxels become, against slow NumPy and the worked examples."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr._checking import NoNetwork
from jaxattr._registry import METHODS
from jaxattr._substitute import check_substitute
from jaxattr.perturbation import MaskingConfig, mask_geometry
from jaxattr.perturbation._hiding import BY_VOXEL, hiding
from jaxattr.perturbation._operators import OPERATORS

RNG = np.random.default_rng(0)
CLIP = RNG.normal(2.0, 3.0, size=(4, 5, 6, 3))
MASK = RNG.uniform(size=CLIP.shape[:3])


def hidden_of(name):
    return {
        "fade": np.zeros_like(CLIP),
        "mean": np.zeros_like(CLIP),
        "clip_mean": np.broadcast_to(CLIP.mean((0, 1, 2)), CLIP.shape),
        "median": np.broadcast_to(np.median(CLIP, 0), CLIP.shape),
        "freeze": np.broadcast_to(CLIP[0], CLIP.shape),
    }[name]


@pytest.mark.parametrize("name", OPERATORS)
def test_a_full_mask_shows_the_clip_itself(name):
    show = OPERATORS[name](jnp.asarray(CLIP), 2.0)
    np.testing.assert_array_equal(show(jnp.ones(MASK.shape)), CLIP)


@pytest.mark.parametrize("name", ["fade", "mean", "clip_mean", "median", "freeze"])
def test_an_empty_mask_shows_what_takes_the_place(name):
    show = OPERATORS[name](jnp.asarray(CLIP), 2.0)
    got = show(jnp.zeros(MASK.shape))
    np.testing.assert_allclose(got, hidden_of(name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["fade", "mean", "clip_mean", "median"])
def test_between_is_in_proportion(name):
    got = OPERATORS[name](jnp.asarray(CLIP), 2.0)(jnp.asarray(MASK))
    share, hidden = MASK[..., None], hidden_of(name)
    np.testing.assert_allclose(got, hidden + share * (CLIP - hidden), rtol=1e-12)


def test_noise_has_the_mean_and_spread_of_its_channel():
    clip = jnp.asarray(RNG.normal([2, -1], [3, 0.5], size=(7, 20, 30, 2)))
    noise = OPERATORS["noise"](clip, 2.0)(jnp.zeros(clip.shape[:3]))
    np.testing.assert_allclose(noise.mean((0, 1, 2)), clip.mean((0, 1, 2)), atol=0.15)
    np.testing.assert_allclose(noise.std((0, 1, 2)), clip.std((0, 1, 2)), rtol=0.05)


@pytest.mark.parametrize(
    ("perturbed", "frames"),
    [
        ((0, 0, 1, 0.5), (1, 2, 2, 3)),
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        ((0.2, 0.3, 0.6, 0.5), (1, 1.7, 2.22, 3.11)),
    ],
)
def test_freezing_holds_the_last_frame_shown(perturbed, frames):
    # Worked examples for "Interpreting Video Features", ACCV 2020.
    clip = jnp.arange(1.0, 5).reshape(4, 1, 1, 1)
    mask = 1 - jnp.asarray(perturbed, float).reshape(4, 1, 1)
    got = OPERATORS["freeze"](clip, 0.0)(mask)
    np.testing.assert_allclose(got.ravel(), frames, rtol=1e-12)


def test_freezing_has_the_slope_of_a_recurrence():
    clip = jnp.arange(1.0, 5).reshape(4, 1, 1, 1)
    show = OPERATORS["freeze"](clip, 0.0)
    perturbed = jnp.array([0.2, 0.3, 0.6, 0.5])
    slope = jax.jacobian(lambda p: show((1 - p).reshape(4, 1, 1)).ravel())(perturbed)
    want = [[0, 0, 0, 0], [0, -1, 0, 0], [0, -0.6, -1.3, 0], [0, -0.3, -0.65, -1.78]]
    np.testing.assert_allclose(slope, want, atol=1e-12)


@pytest.mark.parametrize("name", sorted(OPERATORS.keys() - {"blur"}))
def test_a_mask_of_channels_is_one_of_each_channel(name):
    mask = RNG.uniform(size=CLIP.shape)
    show = OPERATORS[name](jnp.asarray(CLIP), 2.0)
    got = show(jnp.asarray(mask))
    for c in range(CLIP.shape[-1]):
        want = show(jnp.asarray(mask[..., c]))[..., c]
        np.testing.assert_allclose(got[..., c], want, rtol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_name_means_the_same_to_masks_and_to_black_boxes(name):
    clip = jnp.asarray(RNG.normal(size=(3, 14, 5, 2)))  # Higher than wide.
    nothing = jnp.zeros(clip.shape[:3])
    blur = mask_geometry(clip.shape[:3]).blur
    static, value = check_substitute(name, None, BY_VOXEL)
    want = jax.jit(lambda c: OPERATORS[name](c, blur)(nothing))(clip)
    got = jax.jit(lambda c, v: hiding(static, v, c)(nothing))(clip, value)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_every_method_that_hides_knows_every_operator():
    """By one name in all of them; only what hides nothing has no choice."""
    choosing = []
    for name, method in METHODS.items():
        parameters = inspect.signature(method.transform).parameters
        for setting in {"perturbation", "substitute"} & set(parameters):
            choosing.append(name)
            for operator in OPERATORS:
                method.transform(NoNetwork(), **{**method.settings, setting: operator})
    some = {"step", "fgvis", "rise", "lime", "temporal_mask", "igos", "score_cam"}
    assert some <= set(choosing)
    MaskingConfig(alternatives=tuple(OPERATORS))
