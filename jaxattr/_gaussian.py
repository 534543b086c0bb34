"""Gaussian blur as a banded matrix, so that blurring is two small matrix products."""

import math

import jax
import jax.numpy as jnp


def gaussian_matrix(
    size: int,
    sigma: float | jax.Array,
    *,
    edge: str = "zero",
    reach: int | None = None,
    dtype=float,
) -> jax.Array:
    r"""The [size, size] matrix that blurs a signal of that length.

    Taps at the integers :math:`-w \dots w`, :math:`w = \lceil 4 \sigma \rceil`, weigh
    :math:`\exp(-(i / (\sqrt 2 \sigma + 1.19 \cdot 10^{-7}))^2)` and add up to one. It
    is computed, not stored: a table for every width would be a large constant of the
    program.

    Args:
      size: length of the signal.
      sigma: standard deviation in samples; 0 is the identity. May be traced.
      edge: what lies outside: "zero", or "nearest" for the end values.
      reach: most taps on either side; needed where `sigma` is traced.
      dtype: of the matrix.

    Raises:
      ValueError: a negative `sigma`, an unknown `edge`.
    """
    if edge not in ("zero", "nearest"):
        raise ValueError(f'`edge` must be "zero" or "nearest", got {edge!r}.')
    if reach is None:
        if not sigma >= 0:
            raise ValueError(f"`sigma` must be at least 0, got {sigma}.")
        reach = math.ceil(4 * sigma)
    sigma = jnp.asarray(sigma, dtype)
    offsets = jnp.arange(-reach, reach + 1)
    distance = offsets.astype(dtype)
    taps = jnp.exp(-((distance / (math.sqrt(2) * sigma + 1.19e-7)) ** 2))
    taps = jnp.where(jnp.abs(distance) <= jnp.ceil(4 * sigma), taps, 0)
    taps = taps / taps.sum()
    rows = jnp.arange(size)[:, None]
    columns = rows + offsets[None]
    if edge == "nearest":
        columns = columns.clip(0, size - 1)
    columns = jnp.where(columns < 0, size, columns)  # Out of range: dropped.
    taps = jnp.broadcast_to(taps[None], columns.shape)
    return jnp.zeros((size, size), dtype).at[rows, columns].add(taps, mode="drop")


def blur_frames(
    clip: jax.Array,
    sigma: float | jax.Array,
    *,
    edge: str = "zero",
    reach: int | None = None,
) -> jax.Array:
    """Blurs every frame of [T, H, W, C]; time is left alone.

    Args:
      clip: [T, H, W, C].
      sigma: standard deviation in pixels; 0 returns the clip itself. May be traced.
      edge: "zero" or "nearest", as in `gaussian_matrix`.
      reach: most taps on either side; needed where `sigma` is traced.
    """
    if reach is None and sigma == 0:
        return clip
    rows, columns = (
        gaussian_matrix(size, sigma, edge=edge, reach=reach, dtype=clip.dtype)
        for size in clip.shape[1:3]
    )
    highest = jax.lax.Precision.HIGHEST
    clip = jnp.einsum("yi,tixc->tyxc", rows, clip, precision=highest)
    return jnp.einsum("xj,tyjc->tyxc", columns, clip, precision=highest)
