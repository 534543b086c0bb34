"""SWAG against worked numbers and a loop over segments."""

import games
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxattr
from jaxattr import swag

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=games.SHAPE)


def test_worked_numbers():
    gradient = jnp.asarray([0.1, -0.4, 0.3, 0.2, 0, 0.6]).reshape(1, 1, 6, 1)
    segments = np.array([0, 0, 1, 1, 2, 2]).reshape(1, 1, 6)
    run = swag(lambda x: (gradient * x).sum()[None], num_segments=4)
    got = run(jnp.ones((1, 1, 6, 1)), 0, segments=segments)
    np.testing.assert_allclose(got.segment_values, [0.25, 0.25, 0.3, 0])
    np.testing.assert_allclose(got.values.ravel(), [0.25, 0.25, 0.25, 0.25, 0.3, 0.3])


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("gradient", ["vanilla", "guided"])
def test_equal_to_a_loop_over_segments(reduce, gradient):
    clip, segments = RNG.normal(size=games.SHAPE), RNG.integers(6, size=(3, 4, 5))

    def f(x):
        hidden = jnp.maximum(jnp.asarray(WEIGHT) * x, 0)
        return jnp.stack([hidden[:2].sum() - hidden[2:].sum(), hidden.sum()])

    run = swag(f, num_segments=6, gradient=gradient, reduce=reduce)
    got = run(jnp.asarray(clip), 0, segments=segments)
    sign = np.array([1, 1, 0 if gradient == "guided" else -1])[:, None, None, None]
    slope = np.abs(WEIGHT * (WEIGHT * clip > 0) * sign).mean(-1)
    for n in range(6):
        want = getattr(slope[segments == n], reduce)()
        np.testing.assert_allclose(got.segment_values[n], want, rtol=1e-12)
        inside = np.asarray(got.values)[segments == n]
        np.testing.assert_allclose(inside, want, rtol=1e-12)


def test_bad_settings_are_named():
    f = lambda x: jnp.tanh(x).sum()[None]
    for name in ("gradient", "reduce"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            swag(f, **{name: "max"})
    with pytest.raises(ValueError, match="no ReLU"):
        swag(f, gradient="guided")(jnp.ones(games.SHAPE), 0, segments=games.labels(3))


def test_segments_of_single_frames():
    clip = RNG.normal(size=(4, 12, 14, 3))
    segments = jaxattr.data.supervoxels(clip, 40, per_frame=True)
    run = swag(lambda x: (x[2] ** 2).sum()[None], num_segments=40)
    values = run(jnp.asarray(clip), 0, segments=segments).values
    assert (np.asarray(values[2]) > 0).all()
    np.testing.assert_array_equal(np.delete(np.asarray(values), 2, 0), 0)


def test_labels_that_are_known_inside_another_trace():
    clip, segments = jnp.asarray(RNG.normal(size=games.SHAPE)), games.labels(3)
    run = swag(lambda x: (jnp.asarray(WEIGHT) * x**2).sum()[None], num_segments=3)
    want = run(clip, 0, segments=segments)
    for known in (segments, jnp.asarray(segments)):
        beyond = known + 1
        got = jax.jit(lambda x, known=known: run(x, 0, segments=known))(clip)
        np.testing.assert_allclose(got.values, want.values, rtol=1e-12)
        with pytest.raises(ValueError, match=r"`segments` must have labels in 0..2"):
            jax.jit(lambda x, beyond=beyond: run(x, 0, segments=beyond))(clip)
