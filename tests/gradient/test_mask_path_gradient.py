import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.gradient._mask_path_gradient import mask_path_gradient
from jaxattr.perturbation import generate_mask

SHAPE = (2, 15, 19, 3)
CLIP = np.random.default_rng(0).normal(size=SHAPE)
WEIGHTS = np.random.default_rng(1).normal(size=SHAPE) / 20


def network(clip):
    z = (clip * jnp.asarray(WEIGHTS, clip.dtype)).sum()
    return jnp.stack([jnp.tanh(z), z**2, z])


def test_one_level_is_a_difference_of_the_faded_clip():
    level = 0.37
    explain = mask_path_gradient(
        network, levels=(level,), perturbation="fade", score="logit"
    )
    result = explain(CLIP, 0)

    @jax.jit
    def mask_of(grid):
        return result.geometry.crop(generate_mask(grid, result.geometry))

    def score(grid):  # A faded clip is the clip times its mask.
        mask = mask_of(grid)
        return np.tanh((np.asarray(mask)[..., None] * CLIP * WEIGHTS).sum())

    for cell in [(0, 0, 0), (1, 7, 11), (1, 14, 18)]:
        grid = np.full(result.grid.shape, level)
        grid[cell] += 1e-5
        high = score(grid)
        grid[cell] -= 2e-5
        np.testing.assert_allclose(
            result.grid[cell], (high - score(grid)) / 2e-5, rtol=1e-6, atol=1e-9
        )


def test_residual_falls_as_the_midpoint_rule_does():
    residuals = []
    for num in (8, 64):  # Faded, not blurred: its path has no kinks.
        levels = (np.arange(num) + 0.5) / num
        explain = mask_path_gradient(
            network, levels=levels, perturbation="fade", score="logit"
        )
        residuals.append(float(abs(explain(CLIP, 1).residual)))
    assert residuals[0] < 2e-4
    assert residuals[1] < residuals[0] / 40  # 64, but for the mask's own curvature.


def test_values_pass_through_the_cells():
    clip = np.random.default_rng(2).normal(size=(2, 43, 60, 1))
    weights = np.random.default_rng(3).normal(size=clip.shape)
    explain = mask_path_gradient(lambda x: (x * weights).sum()[None], score="logit")
    result = explain(clip, 0)
    step = result.geometry.step
    assert step == 3
    rows, columns = result.geometry.grid
    assert (rows, columns) == (15, 20)
    np.testing.assert_allclose(result.values[:, ::step, ::step], result.grid)
    between = result.grid[:, 1, 4] / 3 + 2 * result.grid[:, 2, 4] / 3
    np.testing.assert_allclose(result.values[:, 5, 12], between)
    np.testing.assert_allclose(result.values[:, 42, 59], result.grid[:, -1, -1])


@pytest.mark.slow
def test_chunks_and_dtypes():
    whole = mask_path_gradient(network, chunk=5)(CLIP, 2)
    parts = mask_path_gradient(network, chunk=2)(CLIP, 2)
    np.testing.assert_allclose(whole.values, parts.values, atol=1e-14)
    half = mask_path_gradient(network)(jnp.asarray(CLIP, jnp.bfloat16), 2)
    assert {x.dtype for x in jax.tree.leaves(half)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("levels", [(), (0.0, 0.5), (0.5, 1.0), 0.5, (float("nan"),)])
def test_bad_levels_are_named(levels):
    with pytest.raises(ValueError, match="`levels`"):
        mask_path_gradient(network, levels=levels)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="`perturbation`"):
        mask_path_gradient(network, perturbation="fog")
    with pytest.raises(ValueError, match="`chunk`"):
        mask_path_gradient(network, chunk=-1)
