import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy

from jaxattr.metrics import complexity

SHAPE = (3, 4, 5)


def test_it_is_the_entropy_of_absolute_values():
    heat = np.random.default_rng(0).normal(size=SHAPE)
    want = entropy(np.abs(heat).ravel())
    np.testing.assert_allclose(complexity(jnp.asarray(heat)), want, rtol=1e-12)
    for scale in (-1.0, 1e-200, 1e250):  # Neither sign nor units matter.
        np.testing.assert_allclose(complexity(heat * scale), want, rtol=1e-12)
    for scale in (1e-30, 1e38):  # The largest of float32 is 3.4e38.
        single = (heat * scale).astype(np.float32)
        np.testing.assert_allclose(complexity(single), want, rtol=1e-6)


def test_its_range_runs_from_one_voxel_to_all():
    one = jnp.zeros(SHAPE).at[1, 2, 3].set(-7.0)
    assert complexity(one) == 0
    for constant in (0.0, 1.0, -3.0):
        got = complexity(jnp.full(SHAPE, constant))
        np.testing.assert_allclose(got, np.log(60), rtol=1e-12)
    half = jnp.zeros(SHAPE).at[:, ::2].set(2.0)
    np.testing.assert_allclose(complexity(half), np.log(30), rtol=1e-12)


def test_a_random_map_is_as_far_below_the_top_as_documented():
    heat = np.random.default_rng(1).normal(size=(16, 50, 50)).astype(np.float32)
    got = complexity(heat)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(np.log(heat.size) - float(got), 0.284, atol=0.01)


def test_it_composes_and_refuses():
    heats = jnp.asarray(np.random.default_rng(2).normal(size=(2, *SHAPE)))
    both = jax.jit(jax.vmap(complexity))(heats)
    one = [complexity(heat) for heat in heats]
    np.testing.assert_allclose(both, one, rtol=1e-12)
    bad = heats[0].at[0, 0, 0].set(jnp.nan)
    assert np.isnan(jax.jit(complexity)(bad))
    with pytest.raises(ValueError, match=r"`heatmap`.*finite"):
        complexity(bad)
    with pytest.raises(ValueError, match=r"`heatmap`.*\(3, 4\).*to_heatmap"):
        complexity(heats[0, :, :, 0])
    for wrong in (heats[0].astype(int), [[[0.0]]], 1.0):
        with pytest.raises(TypeError, match="`heatmap`"):
            complexity(wrong)
