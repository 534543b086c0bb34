import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import smooth_grad

CLIP = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 1)))
WEIGHT = np.random.default_rng(1).normal(size=(2, 3, 4, 1))


def quadratic(x):
    return jnp.stack([(WEIGHT * x**2).sum(), x.sum()])


def explain(kind, num_samples=4000, **settings):
    settings = {"num_samples": num_samples, "kind": kind, "chunk": 100, **settings}
    return smooth_grad(quadratic, **settings)(CLIP, 0, key=jax.random.key(3))


@pytest.mark.parametrize("kind", ["mean", "squared", "variance"])
def test_moments_of_a_quadratic_score(kind):
    # g = 2 w (x + e), e ~ N(0, s^2): mean 2 w x, variance (2 w s)^2.
    sigma = 0.15 * float(CLIP.max() - CLIP.min())
    mean, variance = 2 * WEIGHT * CLIP, (2 * WEIGHT * sigma) ** 2
    want = {"mean": mean, "squared": mean**2 + variance, "variance": variance}[kind]
    got = explain(kind)
    spread = {
        "mean": np.sqrt(variance / 4000),
        "squared": np.sqrt((2 * variance**2 + 4 * variance * mean**2) / 4000),
        "variance": variance * np.sqrt(2 / 3999),
    }[kind]
    assert np.abs((got.values - want) / spread).max() < 5  # Of 24 standard normals.
    if kind != "variance":
        np.testing.assert_allclose(got.standard_error, spread, rtol=0.2)


def test_without_noise_it_is_the_gradient():
    got = explain("mean", num_samples=3, noise=0.0)
    np.testing.assert_allclose(got.values, 2 * WEIGHT * CLIP, rtol=1e-12)
    np.testing.assert_allclose(got.standard_error, 0, atol=1e-12)


def test_the_network_sees_the_clip_plus_noise_of_the_stated_size():
    seen = []

    def probe(x):
        jax.debug.callback(lambda v: seen.append(np.asarray(v)), x)
        return quadratic(x)

    smooth_grad(probe, num_samples=400, noise=0.3)(CLIP, 0, key=jax.random.key(0))
    jax.effects_barrier()
    noise = np.stack([s - CLIP for s in seen if not np.array_equal(s, CLIP)])
    sigma = 0.3 * float(CLIP.max() - CLIP.min())
    assert abs(noise.mean()) < 0.05 * sigma
    np.testing.assert_allclose(noise.std(), sigma, rtol=0.05)


def test_settings_are_checked():
    for settings, name in [
        ({"num_samples": 0}, "num_samples"),
        ({"noise": -0.1}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"kind": "median"}, "kind"),
        ({"kind": "variance", "num_samples": 1}, "num_samples"),
    ]:
        with pytest.raises(ValueError, match=f"`{name}`"):
            smooth_grad(quadratic, **settings)
