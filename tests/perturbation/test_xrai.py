"""XRAI against a slow greedy loop in NumPy."""

import games
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import xrai

RNG = np.random.default_rng(0)
SHAPE = (3, 6, 8, 2)
CLIP = RNG.normal(size=SHAPE)
WEIGHT = RNG.normal(size=SHAPE)


def linear(x):
    total = (jnp.asarray(WEIGHT) * x).sum()
    return jnp.stack([total, -total])


def slow_heat():
    """Integrated gradients of a linear network are exact with any number of steps."""
    maps = []
    for end in (CLIP.min(), CLIP.max()):
        heat = np.abs(WEIGHT * (CLIP - end)).mean(-1)
        heat = np.minimum(heat, np.quantile(heat, 0.999))
        maps.append((heat - heat.min()) / (heat.max() - heat.min()))
    return np.mean(maps, 0)


def slow_regions(heat, stack, least):
    values, covered, count = np.zeros(heat.shape), np.zeros(heat.shape, bool), 0
    while True:
        best, region = -np.inf, None
        for labels in stack:
            for n in np.unique(labels):
                new = (labels == n) & ~covered
                if new.sum() >= least and heat[new].mean() > best:
                    best, region = heat[new].mean(), new
        if region is None:
            break
        values[region], count = best, count + 1
        covered |= region
    if not covered.all():
        values[~covered] = heat[~covered].mean()
    return values, count


@pytest.mark.parametrize(
    ("levels", "least"),
    [
        *((1, 1), (3, 7)),
        pytest.param(1, 7, marks=pytest.mark.slow),
        pytest.param(3, 1, marks=pytest.mark.slow),
    ],
)
def test_equal_to_a_slow_greedy_loop(least, levels):
    stack = np.stack([games.labels(n, n, SHAPE[:3]) for n in (9, 5, 20)[:levels]])
    run = xrai(linear, num_segments=20, num_steps=2, min_voxels=least)
    segments = stack[0] if levels == 1 else stack
    got = run(jnp.asarray(CLIP), 0, segments=segments)
    heat = slow_heat()
    values, count = slow_regions(heat, stack, least)
    np.testing.assert_allclose(got.heat, heat, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.values, values, rtol=1e-9, atol=1e-12)
    assert got.num_regions == count


def test_nothing_is_taken_where_all_segments_are_too_small():
    run = xrai(linear, num_segments=20, num_steps=2, min_voxels=100)
    got = run(jnp.asarray(CLIP), 0, segments=games.labels(20, 0, SHAPE[:3]))
    assert got.num_regions == 0
    np.testing.assert_allclose(got.values, slow_heat().mean(), rtol=1e-9)


def test_bad_settings_and_labels():
    for name in ("num_segments", "num_steps", "min_voxels", "chunk"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            xrai(linear, **{name: 0})
    run = xrai(linear, num_segments=4, num_steps=1)
    segments, clip = games.labels(5, 0, SHAPE[:3]), jnp.asarray(CLIP)
    for bad in (segments, np.stack([segments, segments]), segments[:2], segments[:0]):
        with pytest.raises(ValueError, match="`segments`"):
            run(clip, 0, segments=bad)
    with pytest.raises(ValueError, match=r"`segments` must hold at least one"):
        run(clip, 0, segments=segments[None][:0])
    traced = jax.jit(lambda g: run(clip, 0, segments=g).values)
    assert np.isnan(traced(segments)).all()
    for known in (jnp.asarray(segments), jnp.asarray(segments)[None]):
        with pytest.raises(ValueError, match=r"`segments` must have labels in 0..3"):
            jax.jit(lambda x, known=known: run(x, 0, segments=known))(clip)
