import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.perturbation import generate_mask, mask_geometry
from jaxattr.perturbation._area import area_count, area_digits, area_term
from jaxattr.perturbation._core import core_kernel, core_term
from jaxattr.perturbation._selection import shuffled_top_weights, top_weights

top_weights = jax.jit(top_weights)


def _count(area, volume):
    return area_count(jnp.asarray(area_digits(area)), volume)


@pytest.fixture(scope="module")
def ones():
    geometry = mask_geometry((16, 112, 112))
    return generate_mask(jnp.ones((16, 16, 16)), geometry)


@pytest.mark.parametrize(
    ("area", "loss"),
    [
        (0.02, 246.7646),
        (0.05, 237.7732),
        (0.10, 222.8428),
        (0.15, 207.9741),
        (0.30, 163.6408),
        (0.50, 105.3463),
    ],
)
def test_area_term_of_ones_is_the_logged_one(ones, area, loss):
    got = 300 * area_term(ones, _count(area, ones.size), top_weights)
    np.testing.assert_allclose(got, loss, atol=5e-5)


@pytest.mark.parametrize(
    ("core_frames", "losses"),
    [
        (5, (0.862387, 0.859176, 0.855701, 0.825546)),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                (8, (0.864635, 0.862053, 0.859247, 0.836258)),
                (11, (0.864214, 0.861285, 0.858347, 0.832287)),
            )
        ),
        (14, (0.862959, 0.858302, 0.853271, 0.801634)),
    ],
)
def test_core_term_of_ones_is_the_published_one(ones, core_frames, losses):
    geometry = mask_geometry((16, 112, 112), core_frames=core_frames)
    got = [
        core_term(ones, _count(area, ones.size), geometry, top_weights)
        for area in (0.05, 0.10, 0.15, 0.50)
    ]
    np.testing.assert_allclose(np.array(got), losses, atol=5e-7)


@pytest.mark.parametrize(
    ("core_frames", "ellipsoid", "cylinder"),
    [
        (3, 83, 243),
        (5, 205, 405),
        (7, 311, 567),
        (8, 352, 648),
        (11, 515, 891),
        (14, 662, 1134),
    ],
)
def test_core_kernels_have_the_published_counts(core_frames, ellipsoid, cylinder):
    assert core_kernel(core_frames, 11).sum() == ellipsoid
    assert core_kernel(core_frames, 11, "cylinder").sum() == cylinder


def test_core_kernel_of_one_frame_is_a_disc():
    assert core_kernel(1, 3).sum() == 5


@pytest.mark.parametrize("volume", [1, 10, 59_536, 287_296, 1_081_600, 99_999_999])
def test_area_counts_are_exact(volume):
    areas = ["0.01", "0.02", "0.05", "0.1", "0.15", "0.2", "0.3", "0.5", "0.7", "0.9"]
    digits = jnp.stack([jnp.asarray(area_digits(float(area))) for area in areas])
    got = jax.vmap(lambda d: area_count(d, volume))(digits)
    expected = [math.ceil(volume * fractions.Fraction(area)) for area in areas]
    np.testing.assert_array_equal(got, expected)


def test_area_count_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="`clip`"):
        _count(0.1, 1 << 27)


def _slow_area(mask, area):
    mask = np.sort(mask.ravel())
    reference = np.arange(mask.size) >= math.floor(mask.size * (1 - area))
    return ((mask - reference) ** 2).mean()


def _slow_core(mask, area, geometry):
    num, size = geometry.core_frames, geometry.core_size
    t, y, x = np.meshgrid(
        np.linspace(-1, 1, num), *[np.linspace(-1, 1, size)] * 2, indexing="ij"
    )
    kernel = np.sqrt(t**2 + y**2 + x**2) <= 1
    means = []
    for i in range(mask.shape[0] - num + 1):
        for j in range(0, mask.shape[1] - size + 1, size):
            for k in range(0, mask.shape[2] - size + 1, size):
                box = mask[i : i + num, j : j + size, k : k + size]
                means.append(box[kernel].mean())
    means = np.sort(means)[::-1]
    top = math.ceil(area * mask.size / math.floor(num * size**2 * 0.5236))
    top = min(top, means.size)
    rest = means[top:]
    return ((means[:top] - 1) ** 2).mean() + ((rest**2).mean() if rest.size else 0)


@pytest.mark.parametrize("area", [0.07, 0.31, 0.85])
def test_terms_match_slow_rewrites(area):
    geometry = mask_geometry((7, 24, 35), step=3, sigma=3, core_frames=3, core_size=5)
    mask = np.random.default_rng(0).uniform(size=(7, *geometry.canvas)) ** 3
    count = _count(area, mask.size)
    np.testing.assert_allclose(
        area_term(jnp.asarray(mask), count, top_weights), _slow_area(mask, area)
    )
    np.testing.assert_allclose(
        core_term(jnp.asarray(mask), count, geometry, top_weights),
        _slow_core(mask, area, geometry),
    )


def test_core_term_with_room_for_everything_is_finite():
    geometry = mask_geometry((2, 24, 35), core_frames=2)
    mask = jnp.full((2, *geometry.canvas), 0.5)
    term = core_term(mask, jnp.int32(mask.size), geometry, top_weights)
    np.testing.assert_allclose(term, 0.25)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_weights_are_those_of_a_sort(dtype):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 257, size=301) / 256
    values[:3] = 0, 1, 1
    jitter = rng.uniform(-1, 1, size=301) * np.finfo(dtype).eps  # Still ties.
    ordered = np.sort(values)[::-1]
    for count in (1, 2, 50, 150, 151, 300, 301):
        above, tied = values > ordered[count - 1], values == ordered[count - 1]
        expected = above + tied * (count - above.sum()) / tied.sum()
        noisy = jnp.asarray((values + jitter).astype(dtype))
        got = top_weights(noisy, jnp.int32(count))
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_shared_ties_are_the_expectation_of_shuffled_ones():
    rng = np.random.default_rng(0)
    mask = rng.choice([0.2, 0.7, 0.7, 0.7, 0.9], size=60)
    count = jnp.int32(23)

    def gradient(select):
        return jax.grad(lambda m: area_term(m, count, select))(jnp.asarray(mask))

    shared = gradient(top_weights)

    def shuffled(key):
        return gradient(lambda v, k: shuffled_top_weights(v, k, key))

    each = jax.lax.map(shuffled, jax.random.split(jax.random.key(0), 4000))
    error = np.asarray(each.std(0)) / math.sqrt(4000)
    np.testing.assert_array_less(np.abs(each.mean(0) - shared), 4 * error + 1e-12)
    assert error.max() > 0


def test_shuffled_ties_leave_the_value_alone():
    mask = jnp.asarray(np.random.default_rng(0).choice([0.1, 0.6], size=50))
    count = jnp.int32(17)
    keys = [jax.random.key(i) for i in range(2)]
    values = [
        area_term(mask, count, lambda v, k, key=key: shuffled_top_weights(v, k, key))
        for key in keys
    ]
    expected = area_term(mask, count, top_weights)
    np.testing.assert_allclose(np.array(values), expected, rtol=1e-13)
    marks = [shuffled_top_weights(mask, count, key) for key in keys]
    assert all(m.sum() == 17 for m in marks)
    assert not np.array_equal(*marks)
