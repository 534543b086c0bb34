r"""The area term: a mask should be 1 on a given share of its voxels and 0 elsewhere.

Sorted against the step :math:`v` of :math:`\lfloor V (1 - a) \rfloor` zeros and
:math:`k` ones, :math:`\frac 1 V \sum_j (\mathrm{sort}(m)_j - v_j)^2` equals
:math:`\frac 1 V (\sum_{\mathrm{top}\, k} (m - 1)^2 + \sum_{\mathrm{rest}} m^2)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

_DIGITS, _BITS = 11, 4  # 44 bits of an area, in digits whose products fit an int32.

Select = Callable[[jax.Array, jax.Array], jax.Array]  # (values, count) -> weights.


def area_term(mask: jax.Array, count: jax.Array, select: Select) -> jax.Array:
    """Mean squared distance to the nearest binary mask of `count` ones.

    Args:
      mask: any shape, V entries.
      count: [] entries that should be 1.
      select: marks the largest entries, such as `top_weights`.

    Returns:
      [].
    """
    mask = mask.ravel()
    top = select(mask, count)
    return (top * (1 - mask) ** 2 + (1 - top) * mask**2).mean()


def area_digits(area: float) -> np.ndarray:
    """1 - area in fixed point, most significant digit first; for `area_count`."""
    one = 2.0 ** (_DIGITS * _BITS)
    fixed = min(np.ceil((1 - area) * one), one - 1)
    # Rounded up, so that V (1 - a) meant to be whole does not fall just below.
    base = 1 << _BITS
    powers = [base**i for i in reversed(range(_DIGITS))]
    return np.array([int(fixed) // p % base for p in powers], np.int32)


def area_count(digits: jax.Array, volume: int) -> jax.Array:
    """Counts V - ⌊V (1 - a)⌋ voxels, exactly, for an area that only the trace knows.

    float32 would miss it by one here and there; an area that is a static setting would
    recompile with every value.

    Args:
      digits: [11] from `area_digits`.
      volume: V.

    Raises:
      ValueError: a volume of 2**27 voxels or more.
    """
    if volume >= 1 << 27:
        raise ValueError(
            f"`clip` is too large: a mask of {volume} voxels exceeds 2**27; use a "
            "shorter or smaller clip."
        )
    zeros = jnp.zeros((), jnp.int32)
    for i in reversed(range(_DIGITS)):  # Horner's rule; floors compose.
        zeros = (volume * digits[i] + zeros) >> _BITS
    return volume - zeros
