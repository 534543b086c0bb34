"""What all class activation maps share: look at a layer, weigh it, show it on the clip.

Files of methods say how a layer is weighed, nothing else.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._explainer import explainer
from jaxattr._score import Network, Score
from jaxattr._tap import Layer, chosen, look, on_clip

Pool = Literal["global", "frame"]
Weigh = Callable[..., jax.Array]


class LayerAttribution(NamedTuple):
    """A map of the clip, made in the cells of a layer.

    Attributes:
      values: [T, H, W], or [T', H', W'] with resize=False; float32 or wider.
      cells: [T', H', W'] the map as the layer has it.
    """

    values: jax.Array
    cells: jax.Array


def layer_map(
    weigh: Weigh,
    f: Network,
    layer: str | None,
    *,
    score: Score,
    resize: bool,
    relu: bool,
    **settings: Any,
) -> Callable[..., LayerAttribution]:
    """Binds `weigh(layer: Layer, **settings) -> [T', H', W']` to a network.

    Raises:
      ValueError: no layer is named and the network recommends none; from the call, one
        that does not exist or has no extent in space and time.
    """
    return explainer(
        _layer_map,
        f,
        single=True,
        modules=True,
        score=score,
        weigh=weigh,
        layer=chosen(f, layer),
        resize=resize,
        relu=relu,
        weighing=tuple(sorted(settings.items())),
    )


def check_pool(pool: Pool) -> None:
    """Raises ValueError for a pool that does not exist."""
    if pool not in get_args(Pool):
        raise ValueError(f"`pool` must be one of {get_args(Pool)}, got {pool!r}.")


def pooled(pool: Pool) -> tuple[int, ...]:
    """The axes over which a pool goes; time is among them if it is global."""
    return (0, 1, 2) if pool == "global" else (1, 2)


def _layer_map(f, clip, target, *, score, weigh, layer, resize, relu, weighing):
    seen: Layer = look(f, clip, target, score, layer)
    cells = weigh(seen, **dict(weighing))
    cells = jnp.maximum(cells, 0) if relu else cells
    values = on_clip(f, clip, layer, cells) if resize else cells
    return LayerAttribution(values, cells)
