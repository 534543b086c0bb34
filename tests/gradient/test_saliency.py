import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

from jaxattr import input_x_gradient, saliency


def test_saliency_matches_float64_differences():
    f, clip = networks.make("function"), networks.clip()
    got = saliency(f, score="log_prob")(clip, 3).values
    rng = np.random.default_rng(4)
    for _ in range(5):
        direction = rng.normal(size=clip.shape)
        step = 1e-6 * direction

        def log_prob(x):
            z = np.asarray(f(jnp.asarray(x)))
            return z[3] - np.log(np.exp(z).sum())

        slope = (log_prob(clip + step) - log_prob(clip - step)) / 2e-6
        np.testing.assert_allclose((got * direction).sum(), slope, rtol=1e-6)


def test_input_x_gradient_is_exact_for_a_linear_network():
    weight = np.random.default_rng(5).normal(size=(3, 4, 5, 2))
    clip = jnp.asarray(np.random.default_rng(6).normal(size=(3, 4, 5, 2)))
    f = lambda x: jnp.stack([(weight * x).sum(), 0 * x.sum()])
    got = input_x_gradient(f)(clip, 0).values
    np.testing.assert_allclose(got, weight * np.asarray(clip), rtol=1e-14)


def test_input_x_gradient_from_a_root_is_the_first_order_change():
    rng = np.random.default_rng(7)
    weight, clip, root = rng.normal(size=(3, 3, 4, 5, 2))
    black = np.array([-1.9, 1.7])
    f = lambda x: jnp.stack([0 * x.sum(), (weight * x**2).sum()])
    for baseline in (root, black, -0.5):
        explain = input_x_gradient(f, baseline=jnp.asarray(baseline))
        want = (clip - baseline) * 2 * weight * clip  # By hand.
        got = explain(jnp.asarray(clip), 1).values
        np.testing.assert_allclose(got, want, rtol=1e-13)
    # What it misses of the change falls with the square of the distance.
    missed = []
    for distance in (1e-2, 1e-3):
        near = clip - distance * root
        change = (weight * (clip**2 - near**2)).sum()
        explain = input_x_gradient(f, baseline=jnp.asarray(near))
        missed.append(change - explain(jnp.asarray(clip), 1).values.sum())
    np.testing.assert_allclose(missed[0] / missed[1], 100, rtol=1e-4)


def test_bad_baselines_are_named():
    f = lambda x: jnp.stack([x.sum(), x.max()])
    with pytest.raises(TypeError, match=r"`baseline`.*'black'"):
        input_x_gradient(f, baseline="black")
    with pytest.raises(ValueError, match=r"`baseline`.*fit"):
        input_x_gradient(f, baseline=jnp.ones(7))(jnp.ones((2, 3, 4, 1)), 0)


def test_two_streams_get_a_map_each():
    clip = {"rgb": jnp.ones((2, 3, 4, 3)), "flow": jnp.ones((2, 3, 4, 2))}
    f = lambda x: jnp.stack([(x["rgb"] ** 2).sum(), (x["flow"] ** 3).sum()])
    got = jax.vmap(saliency(f), (0, None))(jax.tree.map(lambda a: a[None], clip), 1)
    np.testing.assert_array_equal(got.values["rgb"], 0)
    np.testing.assert_allclose(got.values["flow"], 3)
    explain = input_x_gradient(f, baseline={"rgb": 2.0, "flow": jnp.array([0.0, 3.0])})
    got = explain(clip, 1)
    np.testing.assert_array_equal(got.values["rgb"], 0)
    np.testing.assert_allclose(got.values["flow"], [[[[3, -6]] * 4] * 3] * 2)
