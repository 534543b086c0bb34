import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.perturbation._total_variation import total_variation

IMAGE = np.array([[[1, 0], [0.5, 1]]])
STACK = np.concatenate([IMAGE, 1 - IMAGE])


@pytest.mark.parametrize(
    ("mask", "norm", "exponent", "value"),
    [
        (IMAGE, "sum", 2, 2.5),
        (IMAGE, "sum", 3, 2.522542),
        (IMAGE, "mean", 2, 1.25),
        (IMAGE, "mean", 3, 1.125),
        (STACK, "sum", 2, 8.0),
        (STACK, "sum", 3, 9.850970),
        (STACK, "mean", 2, 2.0),
        (STACK, "mean", 3, 1.875),
    ],
)
def test_worked_numbers(mask, norm, exponent, value):
    got = total_variation(jnp.asarray(mask), norm=norm, exponent=exponent)
    np.testing.assert_allclose(got, value, atol=5e-7)


@pytest.mark.parametrize("exponent", [1, 1.5, 3])
def test_sum_matches_a_loop(exponent):
    mask, weight = np.random.default_rng(0).uniform(size=(3, 4, 5)), 0.3
    want = 0.0
    for t, y, x in np.ndindex(mask.shape):
        here = mask[t, y, x]
        dt = mask[min(t + 1, 2), y, x] - here
        dy = mask[t, min(y + 1, 3), x] - here
        dx = mask[t, y, min(x + 1, 4)] - here
        square = weight * dt**2 + dy**2 + dx**2
        want += (max(square, 1e-5) if exponent < 2 else square) ** (exponent / 2)
    got = total_variation(jnp.asarray(mask), exponent=exponent, time_weight=weight)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_without_weight_of_time_frames_add_up(norm):
    apart = [total_variation(jnp.asarray(m[None]), norm=norm) for m in STACK]
    got = total_variation(jnp.asarray(STACK), norm=norm, time_weight=0.0)
    want = sum(apart) / (1 if norm == "sum" else 2)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("norm", ["sum", "mean"])
@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_a_flat_mask_has_a_slope_and_one_cell_no_variation(norm, exponent):
    flat = jnp.full((2, 3, 4), 0.3)
    slope = jax.grad(lambda m: total_variation(m, norm=norm, exponent=exponent))(flat)
    np.testing.assert_array_equal(slope, 0)
    one = total_variation(jnp.ones((1, 1, 1)), norm=norm, exponent=2)
    np.testing.assert_array_equal(one, 0)
