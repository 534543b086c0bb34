import jax
import jax.numpy as jnp
import networks
import numpy as np

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


def test_two_streams_get_a_map_each():
    clip = {"rgb": jnp.ones((2, 3, 4, 3)), "flow": jnp.ones((2, 3, 4, 2))}
    f = lambda x: jnp.stack([(x["rgb"] ** 2).sum(), (x["flow"] ** 3).sum()])
    got = jax.vmap(saliency(f), (0, None))(jax.tree.map(lambda a: a[None], clip), 1)
    np.testing.assert_array_equal(got.values["rgb"], 0)
    np.testing.assert_allclose(got.values["flow"], 3)
