import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.perturbation import generate_mask, mask_geometry

PUBLISHED = mask_geometry((16, 112, 112))
UNEVEN = mask_geometry((2, 23, 37), step=3, sigma=3.5)


def _slow_mask(grid, geometry):
    """Pixel by pixel, as the paper describes it."""
    step, sigma = geometry.step, geometry.sigma
    pad = 1 + math.ceil(2 * sigma / step)
    window = 2 * (1 + math.ceil(sigma / step)) + 1
    height, width = (
        step * (n + 2 * pad - window + 1) - step + 1 for n in grid.shape[1:]
    )
    masks = np.zeros((len(grid), height, width))
    for t, y, x in np.ndindex(masks.shape):
        z = []
        for ky, kx in np.ndindex(window, window):
            i, j = y // step + ky - pad, x // step + kx - pad
            inside = 0 <= i < grid.shape[1] and 0 <= j < grid.shape[2]
            d = math.hypot(y - sigma - step * i, x - sigma - step * j)
            weight = math.exp(-2 * max(d / sigma - 0.5, 0) ** 2)
            z.append(weight * grid[t, i, j] if inside else 0.0)
        z = np.array(z)
        masks[t, y, x] = (z * np.exp(20 * z)).sum() / np.exp(20 * z).sum()
    return masks


def test_ones_give_the_published_values():
    mask = generate_mask(jnp.ones((1, 16, 16)), PUBLISHED)
    crop = PUBLISHED.crop(mask)
    got = [crop.min(), crop.max(), crop.mean(), mask.mean()]
    got += [mask[0, 0, 0], mask[0, 0, 67], mask[0, 67, 67]]
    expected = [0.8630205787, 0.9998451218, 0.9873291723, 0.8859980224]
    expected += [0.0884237418, 0.6007182684, 0.9745423813]
    np.testing.assert_allclose(np.array(got), expected, rtol=0, atol=1e-9)


def test_one_cell_gives_the_published_bump():
    grid = jnp.zeros((1, 16, 16)).at[0, 8, 8].set(1.0)
    mask = generate_mask(grid, PUBLISHED)
    crop = PUBLISHED.crop(mask)[0]
    got = [mask.sum(), crop[56, 56], crop[56, 67], crop[56, 78]]
    expected = [468.7593319863, 0.9999999011, 0.6063737235, 0.0002816897]
    np.testing.assert_allclose(np.array(got), expected, rtol=0, atol=1e-9)


def test_uneven_frames_match_a_loop_over_pixels():
    grid = np.random.default_rng(0).uniform(size=(2, *UNEVEN.grid))
    got = generate_mask(jnp.asarray(grid), UNEVEN)
    assert got.shape == (2, *UNEVEN.canvas)
    np.testing.assert_allclose(got, _slow_mask(grid, UNEVEN), atol=1e-13)


def test_gradient_matches_differences():
    rng = np.random.default_rng(1)
    grid = rng.uniform(size=(2, *UNEVEN.grid))
    grid[0, :3], grid[1, 2:] = 0, 1  # Saturated cells too.
    cotangent = rng.normal(size=(2, *UNEVEN.canvas))
    gradient = jax.grad(lambda q: (generate_mask(q, UNEVEN) * cotangent).sum())
    got = gradient(jnp.asarray(grid))
    for cell in [(0, 0, 0), (0, 7, 12), (0, 4, 5), (1, 0, 6), (1, 7, 0), (1, 3, 12)]:
        moved = [grid.copy(), grid.copy()]
        moved[0][cell] += 1e-6
        moved[1][cell] -= 1e-6
        high, low = ((_slow_mask(q, UNEVEN) * cotangent).sum() for q in moved)
        # A difference of sums of about 1e3 terms over 2e-6.
        np.testing.assert_allclose(got[cell], (high - low) / 2e-6, atol=1e-6)


def test_saturated_float32_masks_keep_their_slope():
    grid = jnp.ones((1, 16, 16), jnp.float32)

    def gradient(grid):
        return jax.grad(lambda q: generate_mask(q, PUBLISHED).sum())(grid)

    wide = gradient(grid.astype(jnp.float64))
    np.testing.assert_allclose(gradient(grid), wide, rtol=1e-5)


def test_batched_masks_are_the_single_ones():
    geometry = mask_geometry((2, 13, 17), step=3, sigma=3)
    grids = jax.random.uniform(jax.random.key(0), (3, 2, *geometry.grid), jnp.float32)
    together = jax.vmap(lambda q: generate_mask(q, geometry))(grids)
    assert together.dtype == jnp.float32
    one = generate_mask(grids[1], geometry)
    np.testing.assert_allclose(together[1], one, rtol=1e-5)
