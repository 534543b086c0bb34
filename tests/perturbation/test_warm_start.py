import jax.numpy as jnp
import numpy as np

from jaxattr.perturbation._area import area_digits
from jaxattr.perturbation._warm_start import smooth_grid, warm_start


def test_smoothing_is_a_binomial_filter_with_repeated_edges():
    grid = np.random.default_rng(0).normal(size=(5, 3, 4))
    padded = np.pad(grid, ((2, 2), (0, 0), (0, 0)), mode="symmetric")
    taps = np.array([1, 4, 6, 4, 1]) / 16
    expected = sum(tap * padded[i : i + 5] for i, tap in enumerate(taps))
    np.testing.assert_allclose(smooth_grid(jnp.asarray(grid), (2, 0)), expected)
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] / 4 + padded[:, 1:-1] / 2 + padded[:, 2:] / 4
    expected = rows[..., :-2] / 4 + rows[..., 1:-1] / 2 + rows[..., 2:] / 4
    np.testing.assert_allclose(smooth_grid(jnp.asarray(grid), (0, 1)), expected)


def test_start_is_high_where_evidence_is_largest():
    evidence = np.random.default_rng(1).normal(size=(4, 5, 5))
    start = warm_start(
        jnp.asarray(evidence),
        jnp.asarray(area_digits(0.2)),
        jnp.array([0.25, 0.75]),
        (0, 0),
    )
    high = evidence >= np.sort(evidence, axis=None)[-20]
    np.testing.assert_array_equal(start, np.where(high, 0.75, 0.25))


def test_frames_that_pull_apart_do_not_cancel():
    evidence = np.zeros((6, 7, 7))
    evidence[1:5, 3, 3] = [3, -2, 3, -2]
    start = warm_start(
        jnp.asarray(evidence),
        jnp.asarray(area_digits(3 / evidence.size)),
        jnp.array([0.0, 1.0]),
        (1, 0),
    )
    np.testing.assert_array_equal(np.nonzero(start[:, 3, 3])[0], [1, 2, 3])


def test_no_evidence_starts_evenly():
    start = warm_start(
        -jnp.ones((2, 3, 5)),
        jnp.asarray(area_digits(0.5)),
        jnp.array([0.0, 1.0]),
        (1, 1),
    )
    np.testing.assert_allclose(start, 0.5)
