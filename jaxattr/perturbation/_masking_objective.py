"""What the two parts of a masking model are trained by, each on a batch of clips."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, widen
from jaxattr._resize import to_clip
from jaxattr._tap import activations
from jaxattr.perturbation._alternatives import alternative
from jaxattr.perturbation._masking_config import MaskingConfig
from jaxattr.perturbation._masking_losses import (
    area_cost,
    existence_cost,
    keep_cost,
    lose_cost,
    smoothness,
)
from jaxattr.perturbation._masking_network import (
    Params,
    Scale,
    evidence_of,
    forward,
)
from jaxattr.program import Traced

# (params, network, layers, clip, target, key, done, config) -> (loss [], record).
Objective = Callable[..., tuple[jax.Array, Any]]


class Costs(NamedTuple):
    """Of one clip; the first four are weighted, and the loss is their sum."""

    preserver: jax.Array
    destroyer: jax.Array
    area: jax.Array
    smoothness: jax.Array
    size: jax.Array  # Mean of the mask.
    exists: jax.Array  # Whether the class that was asked for is there.


def selector_objective(
    params: Params,
    network: Traced,
    layers: tuple[Scale, ...],
    clip: jax.Array,
    target: jax.Array,
    key: jax.Array,
    done: jax.Array,
    config: MaskingConfig,
) -> tuple[jax.Array, jax.Array]:
    """Whether a class is in the clip, by the coarsest layer: cross-entropy.

    `done` is the share of the steps that are behind.
    """
    asked, exists = _asked(params, target, key, config.selector_absent_share)
    values = activations(network, clip, [layers[0].name])
    cost = existence_cost(evidence_of(params, layers, values, asked), exists)
    return cost, cost


def decoder_objective(
    params: Params,
    network: Traced,
    layers: tuple[Scale, ...],
    clip: jax.Array,
    target: jax.Array,
    key: jax.Array,
    done: jax.Array,
    config: MaskingConfig,
) -> tuple[jax.Array, Costs]:
    """What a mask shows and hides, its size and roughness; the selector stays."""
    asked_key, noise_key, other_key = jax.random.split(key, 3)
    asked, exists = _asked(params, target, asked_key, config.absent_share)
    params = {**params, "selector": jax.lax.stop_gradient(params["selector"])}
    values = activations(network, clip, [layer.name for layer in layers])
    cells = forward(params, layers, values, asked, 0.0).cells
    mask = to_clip(cells, clip.shape[:3], layers[-1].axes)
    x = widen(clip)
    noisy = x + config.clip_noise * jax.random.normal(noise_key, x.shape, x.dtype)
    show = alternative(x, noisy, other_key, config.alternatives, config)
    kept = widen(network(narrow(show(mask), clip)))
    lost = widen(network(narrow(show(1 - mask), clip)))
    preserver = jnp.where(
        exists,
        keep_cost(kept, target, config.keep_margin),
        lose_cost(kept, target, config.absent_lose_margin),
    )
    destroyer = jnp.where(
        exists,
        lose_cost(lost, target, config.lose_margin),
        keep_cost(lost, target, config.keep_margin),
    )
    area_weight = config.area_weight
    if config.area_ramp:
        area_weight = area_weight * jnp.minimum(1, done / config.area_ramp)
    costs = Costs(
        config.preserver_weight * preserver,
        destroyer,
        area_weight * area_cost(cells, config.area_exponent, config.area_floor),
        config.smoothness_weight * smoothness(cells, config.border_weight),
        cells.mean(),
        exists,
    )
    return sum(cost.astype(cells.dtype) for cost in costs[:4]), costs


def _asked(params, target, key, absent_share):
    """The class that the model is asked for, and whether it is the clip's."""
    exists_key, other_key = jax.random.split(key)
    exists = ~jax.random.bernoulli(exists_key, absent_share)
    count = params["selector"].shape[0]
    away = jax.random.randint(other_key, (), 1, count, target.dtype)
    return jnp.where(exists, target, (target + away) % count), exists
