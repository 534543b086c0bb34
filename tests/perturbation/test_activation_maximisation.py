"""Activation maximisation against closed forms."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.perturbation import activation_maximisation

SHAPE = (3, 4, 5, 2)  # T, H, W, C
RNG = np.random.default_rng(0)
W = RNG.normal(size=SHAPE) / np.prod(SHAPE)
NOTHING = jnp.zeros(SHAPE)
LONG = {"num_iterations": 3000, "learning_rate": 0.01}


def linear(clip):
    return jnp.stack([(jnp.asarray(W) * clip).sum(), jnp.zeros(())])


def differences(axis):
    """Of all neighbours along an axis of [T, H, W], as a matrix."""
    size = SHAPE[axis]
    one = np.eye(size)[1:] - np.eye(size)[:-1]
    parts = [one if i == axis else np.eye(n) for i, n in enumerate(SHAPE[:3])]
    return np.kron(np.kron(parts[0], parts[1]), parts[2])


def test_a_linear_score_has_a_closed_form():
    decay, smoothness, time_weight = 0.3, 0.2, 2.0
    weights = dict(decay=decay, smoothness=smoothness, time_weight=time_weight)
    make = activation_maximisation(linear, **weights, **LONG)
    got = make(NOTHING, 0, key=jax.random.key(0))
    # The minimum of a quadratic form, channel by channel.
    form = 2 * decay / np.prod(SHAPE) * np.eye(np.prod(SHAPE[:3]))
    for axis, weight in enumerate((time_weight, 1, 1)):
        d = differences(axis)
        form += 2 * smoothness * weight / (len(d) * SHAPE[3]) * d.T @ d
    want = np.linalg.solve(form, W.reshape(-1, SHAPE[3])).reshape(SHAPE)
    np.testing.assert_allclose(got.values, want, atol=3e-3)  # Steps of 0.01 end near.
    np.testing.assert_allclose(got.score, (W * want).sum(), rtol=1e-3)


def test_pixels_stay_between_black_and_white():
    class Net:
        spec = types.SimpleNamespace(mean=(0.2, 0.5), std=(0.1, 0.25))

        def __call__(self, clip):
            return linear(clip)

    make = activation_maximisation(Net(), decay=0.0, smoothness=0.0, **LONG)
    got = make(NOTHING, 0, key=jax.random.key(1)).values
    want = np.where(W > 0, [8.0, 2.0], [-2.0, -2.0])
    np.testing.assert_allclose(got, want)


def test_it_starts_where_it_is_told():
    clip = jnp.asarray(RNG.normal(size=SHAPE))
    still = {"num_iterations": 1, "learning_rate": 0.0}
    make = activation_maximisation(linear, start="clip", **still)
    np.testing.assert_array_equal(make(clip, 0).values, clip)
    make = activation_maximisation(linear, noise=0.5, **still)
    some, other = (make(clip, 0, key=jax.random.key(i)).values for i in (0, 1))
    drawn = 0.5 * jax.random.normal(jax.random.key(0), SHAPE)
    np.testing.assert_allclose(some, drawn, rtol=1e-14)
    assert np.abs(some - other).max() > 0.1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="`start` must be one of 'noise', 'clip'"):
        activation_maximisation(linear, start="zeros")
    with pytest.raises(ValueError, match="`decay`"):
        activation_maximisation(linear, decay=-1)
    with pytest.raises(ValueError, match="`key` is missing"):
        activation_maximisation(linear)(NOTHING, 0)
    make = activation_maximisation(linear, start="clip", num_iterations=1)
    got = jax.jit(lambda e, t: e(NOTHING, t))(make, jnp.int32(7))
    assert np.isnan(got.values).all()
