"""What masks of several areas share, whatever they mask.

Areas are checked and tabulated with the schedules of a config; each has a mask of its
own, whose optimiser and selection of the largest entries are made here.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxattr.perturbation._area import Select, area_digits
from jaxattr.perturbation._optimisers import (
    low_pass,
    scale_by_damped_momentum,
    scale_by_shared_adam,
)
from jaxattr.perturbation._presets import ExtremalConfig, Schedule, make_schedule
from jaxattr.perturbation._selection import shuffled_top_weights, top_weights


class Numbers(NamedTuple):
    """What only scales: traced, so that other values do not recompile."""

    areas: Any  # [A]
    digits: Any  # [A, 11] of the areas.
    schedule: Schedule
    reward_weight: Any  # []
    warm_levels: Any  # [N]; none: start from ones.
    warm_digits: Any  # [A, 11] of the share of cells that start high.
    warm_values: Any  # [2]

    def cast(self, dtype: Any) -> "Numbers":
        """The same, what is floating point in `dtype`."""
        return jax.tree.map(
            lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
            self,
        )


def tabulate(areas: np.ndarray, config: ExtremalConfig) -> Numbers:
    """The numbers of a config, for those areas."""
    high = np.minimum(config.warm_share * areas, 0.999)
    return Numbers(
        areas=areas,
        digits=np.stack([area_digits(a) for a in areas]),
        schedule=make_schedule(config),
        reward_weight=np.array(config.reward_weight),
        warm_levels=np.array(config.warm_levels, np.float64),
        warm_digits=np.stack([area_digits(a) for a in high]),
        warm_values=np.array(config.warm_values),
    )


def check_areas(areas: Any) -> np.ndarray:
    """Areas as [A]; ValueError unless they are shares inside (0, 1)."""
    try:
        values = np.asarray(areas, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            "`areas` must be a non-empty sequence of shares such as (0.05, 0.1), got "
            f"{areas!r}."
        )
    if not ((values > 0) & (values < 1)).all():
        raise ValueError(f"`areas` must lie inside (0, 1), got {areas!r}.")
    return values


def make_optimiser(
    name: str, learning_rate: jax.Array, cutoffs: Sequence[float] = ()
) -> optax.GradientTransformation:
    """The optimiser of that name in a config.

    Args:
      name: "adam" or "momentum".
      learning_rate: [num_iterations].
      cutoffs: as in `low_pass`; none filters nothing.
    """
    scale = scale_by_shared_adam if name == "adam" else scale_by_damped_momentum
    return optax.chain(
        low_pass(cutoffs),
        scale(),
        optax.scale_by_learning_rate(lambda count: learning_rate[count]),
    )


def selection(key: jax.Array | None) -> Select:
    """Marks the largest entries: ties in random order with a key, else shared."""
    if key is None:
        return top_weights
    return functools.partial(shuffled_top_weights, key=key)


def over_areas(
    function: Callable[..., Any], arguments: tuple[jax.Array, ...], chunk: int | None
) -> Any:
    """Maps a function over the leading axis of its arguments, `chunk` at a time."""
    num_areas = arguments[0].shape[0]
    if chunk is None or chunk >= num_areas:
        return jax.vmap(function)(*arguments)
    return jax.lax.map(lambda x: function(*x), arguments, batch_size=chunk)
