"""Infidelity against the worked case and a linear network."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

import jaxattr
from jaxattr.metrics import infidelity

KEY = jax.random.key(0)


class Values(NamedTuple):
    values: jax.Array


def fixed(values):
    """A method that always answers the same."""

    def method(f, *, score="logit"):
        return lambda clip, target, *, key: Values(jnp.asarray(values))

    return method


def linear(weight):
    return jax.tree_util.Partial(
        lambda w, x: jnp.stack([(w * x).sum(), x.sum()]), jnp.asarray(weight)
    )


def test_the_worked_case():
    # w = (1, 2), phi = (1, 1), I in {e1, e2}: .5, best scale 1.5, then .25.
    weight = np.array([1.0, 2]).reshape(1, 1, 2, 1)
    clip = jnp.ones((1, 1, 2, 1))
    settings = {"window": (1, 1, 1), "num_samples": 2000}
    got = infidelity(fixed(np.ones_like(weight)), linear(weight), **settings)(
        clip, 0, key=KEY
    )
    second = float(got.infidelity)  # Share of e2 among the draws: (1 - 2)^2 a draw.
    assert second == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2000))
    expected_error = np.sqrt(second * (1 - second) / 1999)
    assert float(got.standard_error) == pytest.approx(expected_error)
    assert float(got.scale) == pytest.approx(1 + second)
    assert float(got.scaled) == pytest.approx(second - second**2)
    assert float(got.trivial) == pytest.approx(1 + 3 * second)
    exact = infidelity(fixed(3 * weight), linear(weight), **settings)(clip, 0, key=KEY)
    assert float(exact.scale) == pytest.approx(1 / 3)
    assert float(exact.scaled) == pytest.approx(0, abs=1e-12)
    right = infidelity(fixed(weight), linear(weight), **settings)(clip, 0, key=KEY)
    assert right.infidelity == 0
    zero = infidelity(fixed(0 * weight), linear(weight), **settings)(clip, 0, key=KEY)
    assert zero.scale == 0
    assert zero.infidelity == zero.scaled == zero.trivial == got.trivial


@pytest.mark.parametrize("perturbation", ["cuboid", "noise"])
def test_the_gradient_of_a_linear_network_is_exact(perturbation):
    weight = np.random.default_rng(0).normal(size=(3, 6, 5, 2))
    clip = networks.clip(shape=weight.shape)
    got = infidelity(
        jaxattr.saliency,
        linear(weight),
        perturbation=perturbation,
        baseline=np.array([0.3, -0.2]),
        num_samples=20,
    )(clip, 0, key=KEY)
    assert got.infidelity < 1e-20 * got.trivial
    assert float(got.scale) == pytest.approx(1)


@pytest.mark.parametrize("perturbation", ["cuboid", "noise"])
def test_is_the_mean_over_the_clips_that_the_network_saw(perturbation):
    seen, shape = [], (5, 8, 9, 2)
    phi = np.random.default_rng(1).normal(size=shape)
    clip = networks.clip(shape=shape)

    def f(x):
        jax.debug.callback(lambda c: seen.append(np.asarray(c)), x)
        return jnp.stack([jnp.tanh(x).sum(), (x**2).sum()])

    got = infidelity(
        fixed(phi), f, perturbation=perturbation, baseline=0.7, num_samples=6
    )(clip, 1, key=KEY)
    jax.block_until_ready(got)
    jax.effects_barrier()
    clip = np.asarray(clip)
    perturbed = [c for c in seen if not np.array_equal(c, clip)]
    assert len(perturbed) == 6
    predicted = np.array([((clip - c) * phi).sum() for c in perturbed])
    change = np.array([(clip**2).sum() - (c**2).sum() for c in perturbed])
    squares = (predicted - change) ** 2
    scale = (predicted * change).mean() / (predicted**2).mean()
    expected = (
        squares.mean(),
        squares.std(ddof=1) / np.sqrt(6),
        ((scale * predicted - change) ** 2).mean(),
        scale,
        (change**2).mean(),
    )
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    if perturbation == "cuboid":
        for c in perturbed:
            gone = (c != clip).all(-1)
            assert (c[gone] == 0.7).all()
            spans = [gone.any(axes) for axes in ((1, 2), (0, 2), (0, 1))]
            assert [s.sum() for s in spans] == [2, 2, 3]  # A quarter, rounded up.
            assert gone.sum() == 12
    else:
        spread = np.std(np.array(perturbed) - 0.7)
        assert spread == pytest.approx(0.2 * np.ptp(clip), rel=0.05)


def test_cuboids_reach_every_place_alike():
    clip = networks.clip(shape=(2, 3, 4, 1))
    places, seen = np.arange(24.0).reshape(2, 3, 4, 1), []

    def f(x):
        jax.debug.callback(lambda c: seen.append(np.asarray(c)), x)
        return jnp.zeros(2)

    got = infidelity(  # The mean of I phi over all 24 single voxels, squared.
        fixed(1 / np.asarray(clip) * places), f, window=(1, 1, 1), num_samples=5000
    )(clip, 0, key=KEY)
    jax.block_until_ready(got)
    jax.effects_barrier()
    counts = (np.array(seen) == 0).sum(0)  # 208 each, with a standard deviation of 14.
    assert counts.sum() == 5000
    assert np.abs(counts - 5000 / 24).max() < 5 * 14
    assert got.trivial == 0
    error = float(got.standard_error)
    assert float(got.infidelity) == pytest.approx((places**2).mean(), abs=4 * error)


def test_the_method_explains_the_score_that_is_measured():
    f, clip = networks.make("nnx"), networks.clip()
    measure = infidelity(jaxattr.saliency, f, score="prob", num_samples=3)
    got = measure(clip, 1, key=KEY)
    partial = functools.partial(jaxattr.saliency, score="prob")
    same = infidelity(partial, f, score="prob", num_samples=3)(clip, 1, key=KEY)
    np.testing.assert_allclose(same, got)
    assert 0 < got.scaled < got.trivial
    with pytest.raises(ValueError, match="`method` explains the score 'prob'"):
        infidelity(partial, f)


@pytest.mark.slow
def test_vmap_and_chunk_change_nothing():
    f = networks.make("nnx")
    clips = jnp.stack([networks.clip(i) for i in (0, 1)])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(2))
    measure = infidelity(jaxattr.saliency, f, num_samples=5)
    batch = jax.vmap(lambda c, t, k: measure(c, t, key=k))(
        clips, jnp.array([0, 3]), keys
    )
    chunked = infidelity(jaxattr.saliency, f, num_samples=5, chunk=2)
    one = chunked(clips[1], 3, key=keys[1])
    np.testing.assert_allclose([field[1] for field in batch], one, rtol=1e-9)


def test_bad_input_is_named():
    f, clip = networks.make("nnx"), networks.clip()
    for settings in (
        {"perturbation": "blur"},
        {"window": (1, 2)},
        {"window": (1, 0, 2)},
        {"noise": -1},
        {"num_samples": 1},
        {"score": "loss"},
        {"chunk": 0},
    ):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
            infidelity(jaxattr.saliency, f, **settings)
    with pytest.raises(ValueError, match="`window`"):
        infidelity(jaxattr.saliency, f, window=(7, 1, 1))(clip, 0, key=KEY)
    with pytest.raises(ValueError, match="maps without channels"):
        infidelity(fixed(np.ones(clip.shape[:3])), f)(clip, 0, key=KEY)
