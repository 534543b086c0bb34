import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.perturbation import igos

SHAPE = (3, 6, 8, 2)
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
WEIGHTS = RNG.normal(size=(*SHAPE, 3)) / 3


def network(clip):
    return jnp.tanh(jnp.tensordot(clip, jnp.asarray(WEIGHTS, clip.dtype), 4))


def _square(clip):
    return (clip.sum() ** 2)[None]


TWO = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
PLAIN = {"noise": 0.0, "perturbation": "fade", "smoothness": 0.0}
PLAIN["score"] = lambda output, target: output[target]


def _one_step(**settings):
    explain = igos(_square, num_iterations=1, **{**PLAIN, **settings})
    return explain(TWO, 0)


@pytest.mark.parametrize("step_size", [8.0, 1000.0])
def test_the_worked_example_is_hidden_in_one_step(step_size):
    result = _one_step(step_size=step_size)
    np.testing.assert_allclose(result.history.reward, [3.22875], rtol=1e-12)
    np.testing.assert_array_equal(result.values.ravel(), [1, 1])
    np.testing.assert_array_equal([result.kept, result.lost], [9, 0])


@pytest.mark.parametrize(
    ("num_steps", "slope"), [(20, (2.1525, 4.305)), (1000, (2.003001, 4.006002))]
)
def test_the_worked_gradient_is_the_step(num_steps, slope):
    # Too short to reach 1; the mean of the mask costs 1/2 per cell.
    result = _one_step(num_steps=num_steps, step_size=0.01)
    np.testing.assert_allclose(result.grid.ravel(), 0.01 * (np.array(slope) - 0.5))


def test_a_step_that_overshoots_is_divided_by_five():
    # Loss of mask m: mean over levels a of (a (3 - m1 - 2 m2) - 1)^2, plus mean(m).
    def f(clip):
        return ((clip.sum() - 1) ** 2)[None]

    def loss(m):
        levels = np.arange(1, 5) / 4
        return ((levels * (3 - m @ [1, 2]) - 1) ** 2).mean() + 0.1 * m.mean()

    def gradient(m):
        return np.array([(loss(m + h) - loss(m - h)) / 2e-6 for h in 1e-6 * np.eye(2)])

    mask, size = np.zeros(2), []
    for _ in range(4):
        slope, a = gradient(mask), 8.0
        while True:
            trial = np.clip(mask - a * slope, 0, 1)
            if loss(trial) <= loss(mask) - 1e-4 * a * (slope**2).sum() or a < 1e-5:
                break
            a *= 0.2
        mask = trial
        size.append(a)
    assert len(set(size)) > 1
    explain = igos(f, num_steps=4, num_iterations=4, **{**PLAIN, "sparsity": 0.1})
    got = explain(TWO, 0)
    np.testing.assert_allclose(got.grid.ravel(), mask, atol=1e-6)


@pytest.mark.slow
def test_noise_is_that_of_the_iteration_and_the_path_is_chunked():
    explain = igos(
        network, grid=(3, 3, 4), num_steps=5, num_iterations=4, step_size=0.5
    )
    key = jax.random.key(0)
    result = explain(CLIP, 1, key=key)
    again = explain(CLIP, 1, key=key)
    np.testing.assert_array_equal(result.grid, again.grid)
    other = explain(CLIP, 1, key=jax.random.key(1))
    assert np.abs(other.grid - result.grid).max() > 1e-6
    side_by_side = igos(
        network, grid=(3, 3, 4), num_steps=5, num_iterations=4, step_size=0.5, chunk=2
    )(CLIP, 1, key=key)
    np.testing.assert_allclose(side_by_side.grid, result.grid, atol=1e-10)
    with pytest.raises(ValueError, match="`key`"):
        explain(CLIP, 1)


def test_the_evidence_is_found():
    def box(clip):
        return jnp.stack([8 * (clip[1, 2:4, 3:6] ** 2).mean(), jnp.ones(())])

    explain = igos(box, noise=0.0, perturbation="fade", smoothness=0.2, sparsity=0.5)
    result = explain(CLIP, 0)
    inside = np.zeros(SHAPE[:3], bool)
    inside[1, 2:4, 3:6] = True
    values = np.asarray(result.values)
    assert values[inside].mean() > 0.4
    assert values[~inside].mean() < 0.2 * values[inside].mean()
    assert result.kept > result.lost
    assert np.diff(np.add(*result.history)).max() <= 0  # The line search sees to it.


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps():
    def deep(clip):
        for _ in range(4):
            clip = jnp.tanh(clip * 1.1)
        return clip.mean((1, 2, 3))

    clip = jnp.zeros((3, 32, 32, 3))

    def memory(num_steps):
        explain = igos(deep, num_steps=num_steps, num_iterations=1, noise=0.0)
        lowered = jax.jit(lambda c: explain(c, 1)).lower(clip)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert memory(64) < memory(4) + 32 * clip.nbytes / 8


def test_a_bad_traced_target_gives_nan_everywhere():
    explain = igos(network, noise=0.0, num_iterations=1, num_steps=2)
    result = jax.jit(lambda t: explain(jnp.asarray(CLIP), t))(3)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"grid": 28}, "grid"),
        ({"grid": (1, 2)}, "grid"),
        ({"grid": (0, 2, 2)}, "grid"),
        ({"num_steps": 0}, "num_steps"),
        ({"num_iterations": 1.5}, "num_iterations"),
        ({"noise": -0.1}, "noise"),
        ({"step_size": float("inf")}, "step_size"),
        ({"perturbation": "fog"}, "perturbation"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        igos(network, **settings)
