import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow
from scipy.stats import pearsonr

from jaxattr import metrics

KEY = jax.random.key(0)


@pytest.mark.parametrize("unit", ["frame", "block"])
def test_single_units_match_a_slow_rewrite(unit):
    clip, heat = slow.clip_and_heat()
    block = (1, 6, 10) if unit == "frame" else slow.BLOCK
    settings = {} if unit == "frame" else {"block": block}
    metric = metrics.faithfulness(
        slow.network(), subsets="single", unit=unit, **settings
    )
    got = metric(clip, 2, heat)
    labels = slow.block_labels(block)
    whole = slow.probability(clip, 2)
    drops, heats = [], []
    for index in range(labels.max() + 1):
        gone = labels == index
        drops.append(whole - slow.probability(np.where(gone[..., None], 0, clip), 2))
        heats.append(heat[gone].mean())
    np.testing.assert_allclose(got.drop, drops, rtol=1e-9)
    np.testing.assert_allclose(got.heat, np.array(heats) * gone.sum(), rtol=1e-12)
    # The correlation is blind to sum or mean, over units of one size.
    want = pearsonr(drops, heats).statistic
    np.testing.assert_allclose(got.correlation, want, rtol=1e-9)


@pytest.mark.parametrize("unit", ["block", "voxel", "supervoxel"])
def test_random_subsets_are_of_one_size_and_correlate_as_scipy_says(unit):
    clip, heat = slow.clip_and_heat()
    shown = []

    def f(x):  # Tells what it was shown.
        jax.debug.callback(lambda x: shown.append(np.asarray(x)), x)
        return slow.network()(x)

    settings = {"block": slow.BLOCK} if unit == "block" else {"unit": unit}
    segments = [np.random.default_rng(3).integers(0, 7, slow.MAP)]
    metric = metrics.faithfulness(f, num_samples=6, removed=0.3, **settings)
    got = metric(clip, 2, heat, *segments[: unit == "supervoxel"], key=KEY)
    jax.block_until_ready(got)
    jax.effects_barrier()
    labels = {
        "block": slow.block_labels(slow.BLOCK),
        "voxel": np.arange(240).reshape(slow.MAP),
        "supervoxel": slow.frame_labels(segments[0]),
    }[unit]
    count = labels.max() + 1
    whole, subsets = slow.probability(clip, 2), {}
    for x in shown:
        gone = (x != clip).any(-1)
        if gone.any():
            taken = np.unique(labels[gone])
            np.testing.assert_array_equal(gone, np.isin(labels, taken))
            assert len(taken) == round(0.3 * count)
            subsets[tuple(taken)] = heat[gone].sum(), whole - slow.probability(x, 2)
    assert len(subsets) == 6
    pairs = sorted(zip(np.asarray(got.heat), np.asarray(got.drop)))
    np.testing.assert_allclose(pairs, sorted(subsets.values()), rtol=1e-8)
    want = pearsonr(*zip(*subsets.values())).statistic
    np.testing.assert_allclose(got.correlation, want, rtol=1e-8)


def test_the_contributions_of_a_linear_network_are_perfect():
    (given,) = slow.arrays(2, slow.SHAPE)
    clip, _ = slow.clip_and_heat()
    f = lambda x: jnp.stack([(given * x).sum(), x.sum()])
    truth = (given * clip).sum(-1)
    for settings in ({"subsets": "random", "block": (3, 2)}, {"subsets": "single"}):
        settings = {"unit": "voxel", **settings} if len(settings) == 1 else settings
        metric = metrics.faithfulness(f, score="logit", **settings)
        np.testing.assert_allclose(metric(clip, 0, truth, key=KEY).correlation, 1)
        np.testing.assert_allclose(metric(clip, 0, -truth, key=KEY).correlation, -1)
        # Neither units nor tiny drops matter.
        small = metrics.faithfulness(
            lambda x: 1e-9 * f(x), score=lambda z, i: 1e3 * z[i], **settings
        )
        np.testing.assert_allclose(small(clip, 0, 1e99 * truth, key=KEY).correlation, 1)


@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)]
)
def test_what_does_not_vary_has_no_correlation(dtype):
    clip, heat = (jnp.asarray(x, dtype) for x in slow.clip_and_heat())
    f = jax.tree.map(lambda w: w.astype(dtype), slow.network())
    metric = metrics.faithfulness(f, num_samples=9, unit="voxel")
    for constant in (0.0, 0.1, 1 / 3):
        got = metric(clip, 0, jnp.full(slow.MAP, constant, dtype), key=KEY)
        assert np.isnan(got.correlation)
        assert np.isfinite(got.drop).all()
    flat = metrics.faithfulness(
        lambda x: jnp.ones(3, dtype), num_samples=9, unit="voxel"
    )
    assert np.isnan(flat(clip, 0, heat, key=KEY).correlation)


def test_chance_is_zero():
    clip, _ = slow.clip_and_heat()
    metric = metrics.faithfulness(slow.network(), num_samples=64, block=(1, 3, 2))
    heats = jnp.asarray(np.random.default_rng(7).normal(size=(50, *slow.MAP)))
    keys = jax.random.split(KEY, 50)
    clip = jnp.asarray(clip)
    found = jax.vmap(lambda h, k: metric(clip, 0, h, key=k).correlation)(heats, keys)
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(50)


def test_bad_settings_are_named():
    f = slow.network()
    for name, bad in (("subsets", "all"), ("num_samples", 0), ("chunk", -1)):
        with pytest.raises(ValueError, match=f"`{name}`"):
            metrics.faithfulness(f, **{name: bad})
    for removed in (0, 1, -0.1, "half"):
        with pytest.raises(ValueError, match="`removed`"):
            metrics.faithfulness(f, removed=removed)
    with pytest.raises(ValueError, match=r"`subsets`.*supervoxel"):
        metrics.faithfulness(f, subsets="single", unit="supervoxel")
