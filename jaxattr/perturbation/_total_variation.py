"""Total variation of a mask in space and time."""

import jax
import jax.numpy as jnp

_FLOOR = 1e-5  # Below it a root of squares has no slope: it is infinite at 0.


def total_variation(
    mask: jax.Array,
    *,
    norm: str = "sum",
    exponent: float = 2.0,
    time_weight: float = 1.0,
) -> jax.Array:
    r"""How rough a mask is, from differences :math:`\partial` to the next cell.

    With "sum", isotropic: :math:`\sum_u (\omega \partial_t^2 + \partial_y^2 +
    \partial_x^2)^{\beta / 2}`, differences beyond the last cell being 0. With "mean",
    axis by axis: :math:`\omega \, \overline{|\partial_t|^\beta} +
    \overline{|\partial_y|^\beta} + \overline{|\partial_x|^\beta}`, means over the
    differences there are. The two differ by orders of magnitude.

    Args:
      mask: [T, H, W].
      norm: "sum" or "mean".
      exponent: :math:`\beta`, at least 1. Below 2, "sum" has no slope where the sum of
        squares is under 1e-5.
      time_weight: :math:`\omega`; 0 lets frames be as they are.

    Returns:
      [].
    """
    weights = (time_weight, 1.0, 1.0)
    if norm == "mean":
        steps = [_size(jnp.diff(mask, axis=axis)) for axis in range(3)]
        return sum(
            weight * (step**exponent).mean()
            for weight, step in zip(weights, steps, strict=True)
            if step.size
        ) + jnp.zeros((), mask.dtype)
    squares = sum(
        weight * jnp.diff(mask, axis=axis, append=_last(mask, axis)) ** 2
        for axis, weight in enumerate(weights)
    )
    if exponent < 2:
        squares = jnp.maximum(squares, _FLOOR)
    return (squares ** (exponent / 2)).sum()


def _size(x):
    return x * jnp.sign(x)  # The slope of jnp.abs at 0 is 1.


def _last(mask, axis):
    return jax.lax.slice_in_dim(mask, mask.shape[axis] - 1, None, axis=axis)
