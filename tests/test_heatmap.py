import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxattr import to_heatmap

VALUES = np.random.default_rng(0).normal(size=(3, 8, 10, 2))


@pytest.mark.parametrize(
    ("channels", "reduce"),
    [
        ("abs_mean", lambda v: np.abs(v).mean(-1)),
        ("abs_sum", lambda v: np.abs(v).sum(-1)),
        ("abs_max", lambda v: np.abs(v).max(-1)),
        ("sum_abs", lambda v: np.abs(v.sum(-1))),
        ("positive_mean", lambda v: np.maximum(v, 0).mean(-1)),
        ("sum", lambda v: v.sum(-1)),
        ("mean", lambda v: v.mean(-1)),
    ],
)
def test_channels(channels, reduce):
    got = to_heatmap(jnp.asarray(VALUES), channels=channels, normalise="none")
    np.testing.assert_allclose(got, reduce(VALUES), rtol=1e-12)
    flat = to_heatmap(jnp.asarray(VALUES[..., 0]), channels=channels, normalise="none")
    np.testing.assert_allclose(flat, reduce(VALUES[..., :1]), rtol=1e-12)


def test_the_study_s_percentile_normalisation():
    heat = np.abs(VALUES).mean(-1)
    top = np.percentile(heat, 99)
    want = np.clip((heat - heat.min()) / (top - heat.min()), 0, 1)
    got = to_heatmap(jnp.asarray(VALUES), quantile=0.99)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_blur_repeats_the_edge_as_scipy_does():
    mask = np.abs(VALUES[..., 0])
    want = np.stack(
        [ndimage.gaussian_filter(m, 1.7, mode="nearest", radius=7) for m in mask]
    )
    got = to_heatmap(jnp.asarray(mask), blur=1.7, normalise="max")
    np.testing.assert_allclose(got, want / want.max(), rtol=1e-6)


@pytest.mark.parametrize("normalise", ["range", "max"])
def test_a_flat_map_is_zero(normalise):
    flat = jnp.zeros((2, 3, 4))
    np.testing.assert_array_equal(to_heatmap(flat, normalise=normalise), 0)
    bad = flat.at[0, 1, 1].set(jnp.nan)
    np.testing.assert_array_equal(to_heatmap(bad, normalise=normalise), bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantile", [1.0, 0.9])
@pytest.mark.parametrize("normalise", ["range", "max", "none"])
def test_what_is_not_finite_stays_where_it_is(bad, quantile, normalise):
    values = VALUES[..., 0].copy()
    values[1, 2, 3] = bad
    there = np.zeros(values.shape, bool)
    there[1, 2, 3] = True
    rest = values[~there]
    top = np.quantile(rest, quantile)
    low = {"range": rest.min(), "max": 0, "none": 0}[normalise]
    want = np.minimum(rest, top)
    if normalise != "none":
        want = np.clip((rest - low) / (top - low), 0, 1)
    heat = jax.jit(
        lambda v: to_heatmap(v, channels="mean", quantile=quantile, normalise=normalise)
    )
    got = jax.vmap(heat)(jnp.asarray(np.stack([values, VALUES[..., 1]])))
    np.testing.assert_allclose(got[0][~there], want, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(got[0][there], bad)
    assert np.isfinite(got[1]).all()


def test_the_blur_takes_what_is_not_finite_as_nothing():
    mask = np.abs(VALUES[..., 0])
    mask[1, 2, 3] = 0
    want = np.array(to_heatmap(jnp.asarray(mask), blur=1.7, normalise="none"))
    mask[1, 2, 3] = want[1, 2, 3] = np.inf
    got = to_heatmap(jnp.asarray(mask), blur=1.7, normalise="none")
    np.testing.assert_allclose(got, want, rtol=1e-12)
    everything = jnp.full((2, 3, 4), jnp.nan)
    assert np.isnan(to_heatmap(everything, quantile=0.9)).all()


def test_it_composes_with_vmap():
    batch = jnp.asarray(np.stack([VALUES, 3 * VALUES + 1]))
    got = jax.vmap(lambda v: to_heatmap(v, quantile=0.9, blur=1.0))(batch)
    one = to_heatmap(batch[1], quantile=0.9, blur=1.0)
    np.testing.assert_allclose(got[1], one, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"channels": "median"}, "channels"),
        ({"normalise": "z"}, "normalise"),
        ({"quantile": 99.9}, "quantile"),
        ({"blur": -1}, "blur"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        to_heatmap(jnp.asarray(VALUES), **settings)
    with pytest.raises(ValueError, match="`values`"):
        to_heatmap(jnp.zeros((2, 3)))
