import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics
from jaxattr.metrics import _road

KEY = jax.random.key(0)
impute = jax.jit(_road.impute)


def dense_system(clip, gone, temporal):
    """Matrix and right-hand side of the removed voxels, equation by equation."""
    sites = [tuple(site) for site in np.argwhere(gone)]
    number = {site: i for i, site in enumerate(sites)}
    left = np.zeros((len(sites), len(sites)))
    right = np.zeros((len(sites), clip.shape[-1]))
    for (t, y, x), row in number.items():
        weights = {}
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if (dy, dx) != (0, 0):
                    weight = 1 / 6 if 0 in (dy, dx) else 1 / 12
                    weights[t, y + dy, x + dx] = weight
        weights[t - 1, y, x] = weights[t + 1, y, x] = temporal
        inside = {
            site: weight
            for site, weight in weights.items()
            if all(0 <= i < n for i, n in zip(site, gone.shape))
        }
        left[row, row] = sum(inside.values())
        for site, weight in inside.items():
            if site in number:
                left[row, number[site]] -= weight
            else:
                right[row] += weight * clip[site]
    return left, right


def dense_impute(clip, gone, temporal):
    out = clip.copy()
    if gone.any():
        out[gone] = np.linalg.solve(*dense_system(clip, gone, temporal))
    return out


@pytest.mark.parametrize("temporal", [0.0, 1 / 6, 0.5])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.8])
def test_imputation_solves_the_dense_system(temporal, share):
    clip, heat = slow.clip_and_heat()
    gone = heat <= np.quantile(heat, share) if share else np.zeros(slow.MAP, bool)
    filled, residual = impute(
        jnp.asarray(clip), jnp.asarray(gone)[..., None], temporal, 500, 1e-13
    )
    np.testing.assert_allclose(filled, dense_impute(clip, gone, temporal), atol=1e-11)
    assert residual < 1e-12


def test_what_nothing_is_known_of_becomes_zero():
    clip, _ = slow.clip_and_heat()
    gone = np.zeros((*slow.MAP, 1), bool)
    gone[1] = True
    filled, residual = impute(jnp.asarray(clip), gone, 0.0, 50, 1e-6)
    assert (filled[1] == 0).all()
    assert residual == 0
    filled, _ = impute(jnp.asarray(clip), gone, 1.0, 500, 1e-12)  # Neighbours in time.
    np.testing.assert_allclose(
        filled[1].mean((0, 1)), (clip[0] + clip[2]).mean((0, 1)) / 2, atol=1e-9
    )


def test_the_residual_is_that_of_the_system():
    clip, heat = slow.clip_and_heat()
    gone = heat < 1
    left, right = dense_system(clip, gone, 1 / 6)
    sizes = []
    for num_iterations in (1, 5, 20):
        filled, residual = impute(
            jnp.asarray(clip), jnp.asarray(gone)[..., None], 1 / 6, num_iterations, 1e-9
        )
        error = right - left @ np.asarray(filled)[gone]
        want = np.linalg.norm(error) / np.linalg.norm(right)
        np.testing.assert_allclose(residual, want, rtol=1e-6)
        sizes.append(want)
    assert 1 > sizes[0] > sizes[1] > sizes[2] > 1e-9


VOXELS, BLOCKS = {"unit": "voxel"}, {"unit": "block", "block": slow.BLOCK}


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        (VOXELS, "most_first"),
        (BLOCKS, "least_first"),
        pytest.param(VOXELS, "least_first", marks=pytest.mark.slow),
        pytest.param(BLOCKS, "most_first", marks=pytest.mark.slow),
    ],
)
def test_scores_match_a_dense_rewrite(order, settings):
    clip, heat = slow.clip_and_heat()
    fractions = (0.1, 0.55, 0.99)
    metric = metrics.road(
        slow.network(),
        fractions=fractions,
        order=order,
        noise=0.0,
        num_iterations=500,
        tolerance=1e-12,
        **settings,
    )
    got = metric(jnp.asarray(clip), 2, jnp.asarray(heat), key=KEY)
    labels = slow.block_labels(settings.get("block", (1, 1, 1)))
    units = slow.ordered_units(heat, labels, order)
    want = []
    for fraction in fractions:
        # Not the last one: something has to be left.
        count = min(round(fraction * len(units)), len(units) - 1)
        gone = np.isin(labels, units[:count])
        want.append(slow.probability(dense_impute(clip, gone, 1 / 6), 2))
    np.testing.assert_allclose(got.curve, want, rtol=1e-8)
    np.testing.assert_allclose(got.mean, np.mean(want), rtol=1e-8)
    assert (got.residual < 1e-11).all()


def test_noise_is_added_to_removed_voxels_only():
    heat = jnp.arange(240.0).reshape(slow.MAP)
    removed = heat >= 120

    def inside(output, target):
        return jnp.where(removed[..., None], output, 0).std() * jnp.sqrt(2.0)

    def outside(output, target):
        return jnp.where(removed[..., None], 0, output).std()

    clip = jnp.zeros(slow.SHAPE)
    for score, low, high in ((inside, 0.27, 0.33), (outside, 0, 0)):
        metric = metrics.road(
            lambda x: x, fractions=(0.5,), unit="voxel", noise=0.3, score=score
        )
        one, other = (metric(clip, 0, heat, key=jax.random.key(i)).mean for i in (1, 2))
        assert low <= one <= high
        assert (one == other) == (high == 0)


def test_bad_settings_are_named():
    f = slow.network()
    for name, bad in (
        ("fractions", ()),
        ("fractions", (0.5, 1.0)),
        ("fractions", (0.0,)),
        ("noise", -1),
        ("temporal", -0.1),
        ("tolerance", "small"),
        ("num_iterations", 0),
        ("order", "up"),
        ("chunk", 0),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            metrics.road(f, **{name: bad})
