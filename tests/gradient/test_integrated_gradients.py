import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import integrated_gradients


@pytest.mark.parametrize("num_steps", [1, 3])
def test_quadratic_score_matches_closed_form(num_steps):
    rng = np.random.default_rng(0)
    clip, baseline, weight = rng.normal(size=(3, 3, 4, 5, 2))  # T, H, W, C all differ.
    expected = weight * (clip**2 - baseline**2)  # Worked out by hand, in NumPy.
    explain = integrated_gradients(
        lambda x: jnp.stack([(weight * x**2).sum(), x.sum()]),
        baseline=jnp.asarray(baseline),
        num_steps=num_steps,
    )
    got = explain(jnp.asarray(clip), 0)
    np.testing.assert_allclose(got.values, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got.residual, 0, atol=1e-12)


def test_error_falls_with_the_square_of_the_steps():
    clip = jnp.asarray(np.random.default_rng(1).uniform(0.5, 1, size=(2, 3, 4, 1)))

    def f(x):
        return jnp.stack([jnp.exp(x).sum(), (x**4).sum()])

    residuals = [
        abs(float(integrated_gradients(f, num_steps=n)(clip, 0).residual))
        for n in (4, 8, 16, 32)
    ]
    order = np.log2(np.array(residuals[:-1]) / residuals[1:])
    np.testing.assert_allclose(order, 2, atol=0.05)


def test_baseline_by_channel_and_pytree_clip():
    rng = np.random.default_rng(2)
    rgb, flow = rng.normal(size=(2, 3, 4, 5, 3)), rng.normal(size=(4, 3, 2, 2))
    black = np.array([-1.9, -1.8, -1.7])
    clip = {"rgb": jnp.asarray(rgb), "flow": jnp.asarray(flow)}
    baseline = {"rgb": jnp.asarray(black), "flow": jnp.asarray(0.0)}

    def f(x):
        return jnp.stack(
            [(x["rgb"] ** 2).sum() + 3 * x["flow"].sum(), 0.0 * x["flow"].sum()]
        )

    got = integrated_gradients(f, baseline=baseline, num_steps=2)(clip, 0)
    np.testing.assert_allclose(got.values["rgb"], rgb**2 - black**2, rtol=1e-12)
    np.testing.assert_allclose(got.values["flow"], 3 * flow, rtol=1e-12)


def test_errors_name_the_argument():
    f = lambda x: jnp.stack([x.sum(), x.max()])
    clip = jnp.ones((2, 3, 4, 1))
    with pytest.raises(ValueError, match="num_steps"):
        integrated_gradients(f, num_steps=0)
    with pytest.raises(ValueError, match="chunk"):
        integrated_gradients(f, chunk=0)
    with pytest.raises(ValueError, match="baseline"):
        integrated_gradients(f, baseline=jnp.ones((7,)))(clip, 0)
    with pytest.raises(ValueError, match="baseline"):
        integrated_gradients(f, baseline={"a": 0.0})(clip, 0)


def test_gradient_flows_through_the_explanation():
    clip = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 4, 1)))
    f = lambda x: jnp.stack([(x**3).sum(), x.sum()])

    def mass(x):  # Sum of the attribution = sum of x**3 up to the quadrature.
        return integrated_gradients(f, num_steps=64)(x, 0).values.sum()

    np.testing.assert_allclose(jax.grad(mass)(clip), 3 * clip**2, rtol=1e-3)
