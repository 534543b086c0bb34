r"""Masks from small grids: a smooth maximum over the bumps of nearby cells.

Pixel :math:`u` of the canvas sees the cells :math:`i` of a window around it, with
weight :math:`w(u, i) = \exp(-2 \max(\|u - c_i\| / \sigma - 1/2, 0)^2)` for the centre
:math:`c_i = \sigma + s i`. With :math:`z_i = w(u, i) q_i` its mask value is
:math:`m(u) = \sum_i z_i e^{20 z_i} / \sum_i e^{20 z_i}`, the cells outside the grid
counting as zeros (Fong, Patrick and Vedaldi 2019; Li et al. 2021).

A weight depends on the pixel's place in its block of :math:`s \times s` pixels only.
The canvas is therefore kept as [block rows, block columns, s, s, frames] and summed
over the window's cells; :math:`z \le 1` needs no shift against overflow. The gradient
is written out: autodiff would keep every exponential. Nothing is clipped: rounding can
lift a mask to 1 + 1e-7, and a clip there would halve or kill its slope.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.perturbation._geometry import MaskGeometry

COLDNESS = 20.0  # Of the smooth maximum; the published value.


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def generate_mask(grid: jax.Array, geometry: MaskGeometry) -> jax.Array:
    """Makes the masks of T frames from their grids.

    Args:
      grid: [T, h, w], in [0, 1]; 1 keeps.
      geometry: the sizes.

    Returns:
      [T, *geometry.canvas]; `geometry.crop` cuts out the frames.
    """
    return _forward(grid, geometry)[0]


def _forward(grid, geometry):
    num_frames, step, columns = grid.shape[0], geometry.step, geometry.blocks[1]
    weights = jnp.asarray(_weights(geometry), grid.dtype)
    cells = jnp.pad(grid, ((0, 0), (geometry.pad,) * 2, (geometry.pad,) * 2))
    # Columns and frames as one axis: the longest contiguous loop there is.
    cells = cells.transpose(1, 2, 0).reshape(cells.shape[1], -1)

    def one_row(row):
        def add(sums, y):
            top, total = sums
            for x in range(geometry.window):
                here = cells[row + y, x * num_frames : (x + columns) * num_frames]
                z = here[None, None] * weights[y, x][:, :, None]
                power = jnp.exp(COLDNESS * z)
                top, total = top + z * power, total + power
            return (top, total), None

        zeros = jnp.zeros((step, step, columns * num_frames), grid.dtype)
        sums = jax.lax.scan(add, (zeros, zeros), _indices(geometry.window))[0]
        return [
            x.reshape(step, step, columns, num_frames).transpose(2, 0, 1, 3)
            for x in sums
        ]

    top, total = _over_rows(one_row, geometry.blocks[0])
    mask = top / total
    return _to_canvas(mask, geometry), (grid, mask, total)


def _backward(geometry, residuals, cotangent):
    grid, mask, total = residuals
    slope = _to_blocks(cotangent, geometry) / total
    # d m / d z_i = e^{20 z_i} (1 + 20 (z_i - m)) / sum, as a line in z_i.
    constant = slope * (1 - COLDNESS * mask)
    linear = COLDNESS * slope
    # Blocks beyond the canvas get no cotangent.
    beyond = max(geometry.window - 1 - geometry.pad, 0)
    around = ((beyond, beyond), (beyond, beyond), (0, 0), (0, 0), (0, 0))
    constant, linear = jnp.pad(constant, around), jnp.pad(linear, around)
    weights = jnp.asarray(_weights(geometry), grid.dtype)
    columns = geometry.grid[1]
    cells = grid.transpose(1, 2, 0)
    first = geometry.pad + beyond

    def one_row(row):
        here = cells[row][:, None, None, :]

        def add(found, y):
            for x in range(geometry.window):
                block = row + first - y, slice(first - x, first - x + columns)
                weight = weights[y, x][None, :, :, None]
                z = here * weight
                line = constant[block] + linear[block] * z
                found = found + weight * jnp.exp(COLDNESS * z) * line
            return found, None

        step = geometry.step
        zeros = jnp.zeros((columns, step, step, grid.shape[0]), grid.dtype)
        found = jax.lax.scan(add, zeros, _indices(geometry.window))[0]
        return found.sum((1, 2))

    return (_over_rows(one_row, geometry.grid[0]).transpose(2, 0, 1),)


generate_mask.defvjp(_forward, _backward)


def _over_rows(function, num_rows):
    """Row by row on a CPU, where a row's sums stay in cache; else all at once."""
    if jax.default_backend() == "cpu":
        return jax.lax.map(function, _indices(num_rows))
    return jax.vmap(function)(_indices(num_rows))


def _indices(size):
    return jnp.arange(size, dtype=jnp.int32)


def _weights(geometry):
    """[K, K, s, s]: weight of cell (ky, kx) of the window at a pixel of a block."""
    cell = geometry.step * (np.arange(geometry.window)[:, None] - geometry.pad)
    offset = np.arange(geometry.step)[None] - geometry.sigma - cell
    distance = np.hypot(offset[:, None, :, None], offset[None, :, None, :])
    return np.exp(-2 * np.maximum(distance / geometry.sigma - 0.5, 0) ** 2)


def _to_canvas(mask, geometry):
    rows, columns = geometry.blocks
    step = geometry.step
    mask = mask.transpose(4, 0, 2, 1, 3).reshape(-1, rows * step, columns * step)
    height, width = geometry.canvas
    return mask[:, :height, :width]


def _to_blocks(canvas, geometry):
    rows, columns = geometry.blocks
    step = geometry.step
    canvas = jnp.pad(canvas, ((0, 0), (0, step - 1), (0, step - 1)))
    return canvas.reshape(-1, rows, step, columns, step).transpose(1, 3, 2, 4, 0)
