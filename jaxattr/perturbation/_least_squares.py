"""Weighted least squares, which every surrogate on segments is fitted by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Fit(NamedTuple):
    """A linear function that was fitted.

    Attributes:
      coefficients: [M].
      intercept: [].
    """

    coefficients: jax.Array
    intercept: jax.Array


def weighted_least_squares(
    features: jax.Array,
    values: jax.Array,
    weights: jax.Array,
    *,
    ridge: jax.Array | float = 0.0,
    intercept: bool = True,
) -> Fit:
    r"""Minimises :math:`\sum_i w_i (y_i - a - z_i \cdot c)^2 + \alpha |c|^2`.

    Where the minimum is not unique, that of the least norm: a feature that is always
    the same gets exactly 0, up to rounding.

    Args:
      features: z, [n, M].
      values: y, [n].
      weights: w, [n], not negative.
      ridge: alpha; the intercept is not penalised.
      intercept: whether there is an a; else it is 0.
    """
    total = weights.sum()
    share = (weights / jnp.where(total > 0, total, 1))[:, None]
    zero = jnp.zeros_like(weights[0])
    mean = (share * features).sum(0) if intercept else jnp.zeros_like(features[0])
    middle = (share[:, 0] * values).sum() if intercept else zero
    root = jnp.sqrt(weights)
    rows = root[:, None] * (features - mean[None])
    size = features.shape[1]
    penalty = jnp.sqrt(jnp.asarray(ridge, rows.dtype)) * jnp.eye(size, dtype=rows.dtype)
    u, scale, v = jnp.linalg.svd(jnp.concatenate([rows, penalty]), full_matrices=False)
    right = jnp.concatenate([root * (values - middle), jnp.zeros(size, rows.dtype)])
    # The usual rank decision: what is smaller than this is rounding.
    least = jnp.finfo(rows.dtype).eps * max(u.shape[0], size) * scale.max()
    inverse = jnp.where(scale > least, 1 / jnp.where(scale > least, scale, 1), 0)
    highest = jax.lax.Precision.HIGHEST
    projected = inverse * jnp.matmul(u.T, right, precision=highest)
    found = jnp.matmul(v.T, projected, precision=highest)
    constant = middle - jnp.matmul(mean, found, precision=highest)
    return Fit(found, constant)


def predict(fit: Fit, features: jax.Array) -> jax.Array:
    """What a fit says of features [n, M], [n]."""
    highest = jax.lax.Precision.HIGHEST
    return fit.intercept + jnp.matmul(features, fit.coefficients, precision=highest)


def weighted_r2(
    values: jax.Array, predicted: jax.Array, weights: jax.Array
) -> jax.Array:
    """Share of the weighted variance that is predicted, at most 1; 1 of none at all."""
    total = weights.sum()
    average = (weights * values).sum() / jnp.where(total > 0, total, 1)
    variance = (weights * (values - average) ** 2).sum()
    error = (weights * (values - predicted) ** 2).sum()
    # A NaN is no variance of 0.
    none = variance == 0
    return jnp.where(none, 1, 1 - error / jnp.where(none, 1, variance))
