import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxattr.perturbation._mask_loop import optimise
from jaxattr.perturbation._optimisers import (
    scale_by_damped_momentum,
    scale_by_shared_adam,
)
from jaxattr.perturbation._presets import ExtremalConfig, make_schedule, resolve


def _updates(transform, gradients):
    state = transform.init(gradients[0])
    for gradient in gradients:
        update, state = transform.update(gradient, state)
        yield update


def test_first_step_is_not_damped():
    gradients = [jnp.array([g]) for g in (1.0, 0.0, 0.0)]
    buffers = [float(b[0]) for b in _updates(scale_by_damped_momentum(), gradients)]
    np.testing.assert_allclose(buffers, [1, 0.9, 0.81], rtol=1e-15)
    ones = [jnp.ones(1)] * 3
    buffers = [float(b[0]) for b in _updates(scale_by_damped_momentum(), ones)]
    np.testing.assert_allclose(buffers, [1, 1, 1], rtol=1e-15)


def test_damped_momentum_is_that_of_torch():
    gradients = np.random.default_rng(0).normal(size=(5, 3))
    parameter = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    peer = torch.optim.SGD([parameter], lr=0.05, momentum=0.9, dampening=0.9)
    expected = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        peer.step()
        expected.append(parameter.detach().numpy().copy())
    steps = _updates(scale_by_damped_momentum(), [jnp.asarray(g) for g in gradients])
    got = -0.05 * np.cumsum(np.array(list(steps)), 0)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_shared_adam_does_not_see_the_scale():
    gradients = np.random.default_rng(0).normal(size=(4, 3, 2))
    first, second, expected = np.zeros((3, 2)), 0.0, []
    for t, gradient in enumerate(gradients, 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * np.mean(gradient**2)
        expected.append(first / (1 - 0.9**t) / np.sqrt(second / (1 - 0.99**t)))
    for scale in (1, 1e-6):
        steps = _updates(
            scale_by_shared_adam(), [jnp.asarray(scale * g) for g in gradients]
        )
        np.testing.assert_allclose(np.array(list(steps)), expected, rtol=1e-5)
    steps = list(_updates(scale_by_shared_adam(), [jnp.zeros(3)] * 2))
    np.testing.assert_array_equal(np.array(steps), 0)


def test_published_schedule():
    schedule = make_schedule(resolve("paper", "volume"))
    got = schedule.area_weight[[0, 100, 800, 1199]]
    np.testing.assert_allclose(got, [300, 327.1520, 599.9955, 847.7837], atol=5e-5)
    np.testing.assert_array_equal(
        schedule.core_weight[[0, 100, 101, 1199]], [0, 0, 300, 300]
    )
    np.testing.assert_array_equal(schedule.learning_rate, 0.05)
    wacv = make_schedule(resolve("paper", "per_frame"))
    np.testing.assert_array_equal(wacv.area_weight, 300)
    assert resolve("paper", "per_frame").reward_weight == 100


def test_schedules_end_where_they_should():
    config = ExtremalConfig(
        num_iterations=7,
        learning_rate=0.1,
        final_learning_rate=0.02,
        area_weight=10.0,
        final_area_weight=640.0,
        clock=20,
    )
    schedule = make_schedule(config)
    np.testing.assert_allclose(schedule.area_weight, 10 * 2.0 ** np.arange(7))
    np.testing.assert_allclose(schedule.learning_rate[[0, 3, 6]], [0.1, 0.06, 0.02])
    np.testing.assert_array_equal(schedule.core_weight, [0] * 6 + [300])


def _quadratic(params, iteration):
    return ((params - 3) ** 2).sum(), (iteration, params[0])


def _run(**settings):
    return optimise(
        _quadratic,
        jnp.array([0.0, 9.0]),
        optax.sgd(0.25),
        lambda params: jnp.clip(params, 0, 2.9),
        **settings,
    )


def test_loop_updates_projects_and_records():
    state, (iterations, first) = _run(num_iterations=3)
    np.testing.assert_array_equal(iterations, [0, 1, 2])
    np.testing.assert_allclose(first, [0, 1.5, 2.25])
    np.testing.assert_allclose(state.evaluated, [2.25, 2.9])
    np.testing.assert_allclose(state.params, [2.625, 2.9])


def test_loop_stops_once_nothing_moves():
    state, (_, first) = optimise(
        lambda p, i: (((p - 3) ** 2).sum(), (i.astype(float), p[0])),
        jnp.array([0.0, 9.0]),
        optax.sgd(0.25),
        lambda params: params,
        num_iterations=100,
        tolerance=1e-6,
    )
    assert 20 <= state.iteration <= 40
    assert np.isnan(first[int(state.iteration) :]).all()
    assert np.isfinite(first[: int(state.iteration)]).all()
    np.testing.assert_allclose(state.params, 3, atol=1e-5)


def test_early_stop_needs_whole_blocks():
    with pytest.raises(ValueError, match="`num_iterations`"):
        _run(num_iterations=15, tolerance=0.1)
