"""RISE against enumeration, a slow loop over its own masks, and its stated errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import rise
from jaxattr.perturbation._rise import _mask

SHAPE = (3, 4, 5, 2)
RNG = np.random.default_rng(0)
CLIP = jnp.asarray(RNG.normal(size=SHAPE))
WEIGHT = RNG.normal(size=(2, *SHAPE))
KEY = jax.random.key(0)


def linear(x):
    return (jnp.asarray(WEIGHT, x.dtype) * x[None]).sum((1, 2, 3, 4))


def curved(x):
    return jnp.stack([jnp.sin(linear(x)[0]), jnp.tanh(linear(x)[1] / 3)])


def masks(num, grid, keep):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(num))
    draw = jax.vmap(lambda k: _mask(k, SHAPE[:3], grid, jnp.asarray(keep)))
    return jax.jit(draw)(keys)


def voxels(*contributions):
    """A row of pixels, and a score to which each contributes that much."""
    clip = jnp.ones((1, 1, len(contributions), 1))
    weight = jnp.asarray(contributions, float)
    return clip, lambda x: (x[0, 0, :, 0] * weight).sum()[None]


@pytest.mark.parametrize(
    ("keep", "plain"), [(0.5, (3.5, 1.5, 3.0)), (0.1, (3.1, -0.5, 2.2))]
)
def test_worked_example_of_independent_voxels(keep, plain):
    clip, f = voxels(3, -1, 2)
    settings = {"num_masks": 20_000, "grid": (1, 1, 3), "keep": keep, "score": "logit"}
    slope = rise(f, **settings)(clip, 0, key=KEY)
    published = rise(f, center=False, **settings)(clip, 0, key=KEY)
    for got, want in ((slope, (3, -1, 2)), (published, plain)):
        error = np.abs(np.asarray(got.values)[0, 0] - want)
        assert (error < 5 * np.asarray(got.standard_error)[0, 0]).all()
        assert got.standard_error.max() < 0.15


def test_both_of_two_voxels_are_needed():
    clip, _ = voxels(1, 1, 1)
    explain = rise(
        lambda x: (x[0, 0, 0, 0] * x[0, 0, 1, 0])[None],
        num_masks=4000,
        grid=(1, 1, 3),
        score="logit",
        center=False,
    )
    got = explain(clip, 0, key=KEY)
    np.testing.assert_allclose(got.values[0, 0], (0.5, 0.5, 0.25), atol=0.04)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(
    "grid", [(2, 2, 3), pytest.param((3, 1, 2), marks=pytest.mark.slow)]
)
def test_equal_to_a_slow_loop_over_the_masks(center, grid):
    num, base = 37, RNG.normal(size=SHAPE[3])
    explain = rise(
        curved,
        num_masks=num,
        grid=grid,
        keep=0.3,
        substitute=base,
        center=center,
        score="logit",
    )
    got = explain(CLIP, 1, key=KEY)
    m = np.asarray(masks(num, grid, 0.3))
    seen = m[..., None] * np.asarray(CLIP) + (1 - m[..., None]) * base
    y = np.tanh((WEIGHT[1] * seen).sum((1, 2, 3, 4)) / 3)
    values, errors = np.empty((2, *SHAPE[:3]))
    for v in itertools.product(*map(range, SHAPE[:3])):
        x = m[(slice(None), *v)]
        if center:
            line, covariance = np.polyfit(x, y, 1, cov="unscaled")
            rest = ((y - np.polyval(line, x)) ** 2).sum() / (num - 2)
            values[v], errors[v] = line[0], np.sqrt(covariance[0, 0] * rest)
        else:
            values[v] = (y * x).sum() / num / 0.3
            errors[v] = (y * x / 0.3).std(ddof=1) / np.sqrt(num)
    np.testing.assert_allclose(got.values, values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.standard_error, errors, rtol=1e-9)
    assert got.num_masks == num


def test_the_error_is_that_over_keys():
    explain = rise(curved, num_masks=100, grid=(2, 2, 2), score="logit")
    keys = jax.random.split(KEY, 60)
    got = jax.vmap(lambda k: explain(CLIP, 0, key=k))(keys)
    ratio = got.standard_error.mean(0) / got.values.std(0, ddof=1)
    assert 0.7 < ratio.min() <= ratio.max() < 1.5


@pytest.mark.slow
def test_masks_show_every_voxel_as_often_and_move():
    drawn = np.asarray(masks(4000, (2, 2, 2), 0.3))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    np.testing.assert_allclose(drawn.mean(0), 0.3, atol=0.03)
    # Independent cells where there is one for every voxel, one map where there is one.
    frames = np.asarray(masks(500, (3, 2, 2), 0.5))
    assert abs(np.corrcoef(frames[:, 0, 0, 0], frames[:, 1, 0, 0])[0, 1]) < 0.15
    shared = np.asarray(masks(20, (1, 4, 5), 0.5))
    np.testing.assert_array_equal(shared, shared[:, :1].repeat(3, 1))
    assert set(np.unique(shared)) == {0, 1}


def test_cells_are_stretched_linearly_between_their_centres():
    # Two cells of 1 and 0 over (2 + 1) * 3 voxels, of which 6 begin at voxel 0, 1 or 2.
    whole = np.interp(np.arange(9), [4.5 / 2 - 0.5, 4.5 * 1.5 - 0.5], [1, 0])
    keys = jax.random.split(KEY, 200)
    draw = jax.vmap(lambda k: _mask(k, (1, 1, 6), (1, 1, 2), jnp.asarray(0.5)))
    drawn = jax.jit(draw)(keys)
    rows = np.unique(np.round(np.asarray(drawn)[:, 0, 0], 9), axis=0)
    want = [
        np.round(side[i : i + 6], 9) for side in (whole, 1 - whole) for i in range(3)
    ]
    want += [np.zeros(6), np.ones(6)]
    np.testing.assert_array_equal(rows, np.unique(want, axis=0))


def test_it_stops_at_the_tolerance_whatever_the_chunk():
    settings = {"num_masks": 3000, "grid": (1, 2, 2), "score": "logit"}
    got = rise(linear, tolerance=0.1, **settings)(CLIP, 0, key=KEY)
    assert 100 <= got.num_masks < 2000
    assert got.standard_error.max() <= 0.1 * np.ptp(got.values)
    other = rise(linear, tolerance=0.1, chunk=7, **settings)(CLIP, 0, key=KEY)
    assert other.num_masks == got.num_masks
    np.testing.assert_allclose(other.values, got.values, rtol=1e-9)
    so_many = {**settings, "num_masks": int(got.num_masks)}
    plain = rise(linear, **so_many)(CLIP, 0, key=KEY)
    np.testing.assert_allclose(plain.values, got.values, rtol=1e-9)


@pytest.mark.slow
def test_a_tolerance_of_zero_never_stops_it_and_clips_stop_alone():
    settings = {"num_masks": 3000, "grid": (1, 2, 2), "score": "logit"}
    got = rise(linear, tolerance=0.1, **settings)(CLIP, 0, key=KEY)
    never = rise(linear, tolerance=0.0, **{**settings, "num_masks": 250})
    assert never(CLIP, 0, key=KEY).num_masks == 250
    both = jax.vmap(lambda c: rise(linear, tolerance=0.1, **settings)(c, 0, key=KEY))(
        jnp.stack([CLIP, CLIP[::-1]])
    )
    assert both.num_masks[0] == got.num_masks


def test_a_constant_score_gives_zero_and_stops_at_once():
    f = lambda x: jnp.zeros(3) + 0 * x.sum()
    got = rise(f, num_masks=1000, grid=(1, 2, 2), tolerance=0.01)(CLIP, 0, key=KEY)
    np.testing.assert_array_equal(got.values, 0)
    assert got.num_masks <= 110


def test_a_nan_does_not_end_where_the_mask_stood_still():
    settings = {"num_masks": 3, "grid": (1, 2, 2), "keep": 1e-9}  # All are hidden.
    settings["score"] = lambda y, t: y[t]
    still = rise(lambda x: jnp.ones(3), **settings)(CLIP, 0, key=KEY)
    np.testing.assert_array_equal(still.values, 0)
    np.testing.assert_array_equal(still.standard_error, np.inf)
    bad = rise(lambda x: jnp.full(3, jnp.nan), **settings)(CLIP, 0, key=KEY)
    assert np.isnan(bad.values).all()


def test_a_large_constant_costs_no_digits_in_float32():
    clip = CLIP.astype(jnp.float32)
    settings = {"num_masks": 300, "grid": (2, 2, 2), "score": lambda y, t: y[t]}
    small = rise(linear, **settings)(clip, 0, key=KEY).values
    large = rise(lambda x: linear(x) + 256, **settings)(clip, 0, key=KEY).values
    scale = np.abs(small).max()
    np.testing.assert_allclose(large / scale, small / scale, atol=1e-4)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_masks():
    def temporary(num, **more):
        explain = rise(curved, num_masks=num, grid=(2, 2, 2), chunk=4, **more)
        run = jax.jit(lambda e, c, k: e(c, 0, key=k))
        compiled = run.lower(explain, CLIP, KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(4000) == temporary(100)
    assert temporary(4000, tolerance=0.1) == temporary(200, tolerance=0.1)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"num_masks": 2}, "num_masks"),
        ({"grid": (7, 7)}, "grid"),
        ({"grid": (0, 7, 7)}, "grid"),
        ({"keep": 1.0}, "keep"),
        ({"tolerance": -1}, "tolerance"),
        ({"substitute": "grey"}, "substitute"),
        ({"center": "no"}, "center"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        rise(linear, **settings)


def test_more_cells_than_voxels():
    with pytest.raises(ValueError, match=r"`grid` \(4, 7, 7\).*\(3, 4, 5\)"):
        rise(linear)(CLIP, 0, key=KEY)
