import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.perturbation import igos_pp
from jaxattr.perturbation._igos_pp import bilateral_variation

SHAPE = (3, 6, 8, 2)
CLIP = np.random.default_rng(0).normal(size=SHAPE)


def test_the_worked_variation_ends_at_edges():
    brightness = jnp.array([[[0, 0.1], [0.5, 0.5]]])
    clip = jnp.stack([brightness - 1, brightness + 1], -1)
    mask = jnp.array([[[0, 1], [0.5, 1]]])
    got = bilateral_variation(mask, mask, clip)
    np.testing.assert_allclose(got, 0.529470, atol=5e-7)
    flat = bilateral_variation(mask, mask, jnp.zeros_like(clip))
    np.testing.assert_allclose(flat, 0.75)


def _torch_free_loss(d, i, num_steps):
    """The objective on two voxels 1, 2 with "fade" and f = (sum)^2, in NumPy."""
    clip = np.array([1.0, 2.0])
    keep_d, keep_i = 1 - d, 1 - i
    both = keep_d * keep_i
    levels = np.arange(1, num_steps + 1)[:, None] / num_steps

    def deleted(keep):
        return ((levels * keep) @ clip) ** 2

    def inserted(keep):
        return ((1 - levels * keep) @ clip) ** 2

    terms = deleted(both) + deleted(keep_d) - inserted(both) - inserted(keep_i)
    return 0.5 * terms.mean() + 0.7 * (1 - both).mean()


def test_one_step_is_that_of_the_objective():
    explain = igos_pp(
        lambda x: x.sum() ** 2,
        num_steps=3,
        num_iterations=1,
        sparsity=0.7,
        smoothness=0.0,
        noise=0.0,
        step_size=0.01,
        perturbation="fade",
        score=lambda output, target: output,
    )
    result = explain(jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), 0)
    start = np.zeros(4)
    loss = lambda x: _torch_free_loss(x[:2], x[2:], 3)
    slope = [(loss(start + h) - loss(start - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(sum(result.history), [loss(start)], rtol=1e-12)
    d, i = np.clip(-0.01 * np.array(slope), 0, 1).reshape(2, 2)
    want = 1 - (1 - d) * (1 - i)
    assert want.min() > 0
    np.testing.assert_allclose(result.grid.ravel(), want, rtol=1e-7)


def test_the_evidence_is_found_and_the_objective_falls():
    def box(clip):
        return jnp.stack([8 * (clip[1, 2:4, 3:6] ** 2).mean(), jnp.ones(())])

    explain = igos_pp(box, perturbation="fade", smoothness=0.2, sparsity=0.5, noise=0.0)
    result = explain(CLIP, 0)
    inside = np.zeros(SHAPE[:3], bool)
    inside[1, 2:4, 3:6] = True
    values = np.asarray(result.values)
    assert values[inside].mean() > 0.4
    assert values[~inside].mean() < 0.3 * values[inside].mean()
    assert result.kept > result.lost
    assert np.diff(np.add(*result.history)).max() <= 0


@pytest.mark.slow
def test_a_key_is_needed_and_a_bad_traced_target_gives_nan():
    def f(clip):
        return clip.mean((0, 1, 2))

    explain = igos_pp(f, num_iterations=1, num_steps=2)
    with pytest.raises(ValueError, match="`key`"):
        explain(CLIP, 0)
    clip, key = jnp.asarray(CLIP), jax.random.key(0)
    result = jax.jit(lambda t: explain(clip, t, key=key))(2)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(result))
