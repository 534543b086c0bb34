"""The value of one layer: which, of what shape, and the gradient with respect to it."""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import wide, widen
from jaxattr._resize import to_clip
from jaxattr._score import Network, Score, reader
from jaxattr.program import Axis, Rule, Traced


class Layer(NamedTuple):
    """A layer in the forward pass of one clip.

    Attributes:
      activation: [T', H', W', C'], float32 or wider.
      gradient: likewise, of the score with respect to it.
      score: [].
    """

    activation: jax.Array
    gradient: jax.Array
    score: jax.Array


def chosen(f: Network, layer: str | None, argument: str = "layer") -> str:
    """The name of the layer: the given one, or the network's own choice, `spec.tap`.

    Raises:
      ValueError: none is given, and the network has no choice.
    """
    name = getattr(getattr(f, "spec", None), "tap", None) if layer is None else layer
    if not isinstance(name, str):
        raise ValueError(
            f"`{argument}` must be the name of a layer, as `jaxattr.list_taps(f, clip)`"
            f" shows them: `f` recommends none, got {layer!r}."
        )
    return name


def look(
    f: Traced,
    clip: Any,
    target: Any,
    score: Score,
    layer: str,
    rule: Rule | None = None,
) -> Layer:
    """One forward pass, and a backward pass, under a rule, as far as the layer.

    Raises:
      ValueError: no such layer, the nearest names shown; one that is not
        [T', H', W', C'].
    """
    struct = struct_of(f, layer)
    read = reader(f, clip, target, score)

    def scored(shift):
        output, taps = f.tapped(clip, {layer: shift}, rule, wide=ruled)
        return read(output), taps[layer]

    ruled = rule is not None  # Then the backward pass is float32 or wider.
    zero = jnp.zeros(struct.shape, wide(struct.dtype) if ruled else struct.dtype)
    (value, activation), gradient = jax.value_and_grad(scored, has_aux=True)(zero)
    return Layer(_volume(widen(activation)), _volume(widen(gradient)), value)


def activation(f: Traced, clip: Any, layer: str) -> jax.Array:
    """The value of a layer, [T', H', W', C']; errors as those of `look`."""
    return activations(f, clip, [layer])[layer]


def activations(f: Traced, clip: Any, layers: Iterable[str]) -> dict[str, jax.Array]:
    """The values of several layers in one pass; errors as those of `look`."""
    layers = list(layers)
    for layer in layers:
        struct_of(f, layer)
    found = f.tapped(clip)[1]
    return {layer: _volume(widen(found[layer])) for layer in layers}


def shape_of(f: Traced, layer: str) -> tuple[int, ...]:
    """(T', H', W', C') of a layer; errors as those of `look`."""
    shape = struct_of(f, layer).shape
    return tuple(shape[i] for i in volume_axes(shape))


def struct_of(f: Traced, layer: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a layer as the program has it; errors as those of `look`."""
    taps = f.tap_axes()
    if layer not in taps:
        raise unknown("layer", layer, taps, f.absence(layer))
    struct, axes = taps[layer]
    kept = volume_axes(struct.shape)
    if len(kept) != 4 or math.prod(struct.shape[i] for i in kept[:3]) == 1:
        raise ValueError(
            f"`layer` {layer!r} must be [T, H, W, C] to be shown on a clip, got shape "
            f"{struct.shape}: it has no extent in space and time."
        )
    found = [axes[i].which if axes[i] else None for i in kept]
    if any(which not in (None, i) for i, which in enumerate(found)):
        raise ValueError(
            f"`layer` {layer!r} must be [T, H, W, C] to be shown on a clip, got shape "
            f"{struct.shape} with its axes in another order: name its transpose by "
            "checkpoint_name, and take that."
        )
    return struct


def unknown(argument: str, name: str, taps: Iterable[str], why: str) -> ValueError:
    """The error for a name that is no tap, with the nearest names and all."""
    taps = list(taps)
    near = difflib.get_close_matches(name, taps, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ValueError(
        f"`{argument}` {name!r} {why}.{hint} There are: "
        f"{', '.join(taps) or 'none; name a value by checkpoint_name'}."
    )


def place(f: Traced, layer: str) -> tuple[Axis | None, ...]:
    """Where the cells of a layer lie in time, height and width.

    None for an axis on which there are none, or of which the program does not tell.
    """
    struct, axes = f.tap_axes()[layer]
    kept = [axes[i] for i in volume_axes(struct.shape)]
    return _in_order(kept) if len(kept) == 4 else (None, None, None)


def volume(
    x: jax.Array, channels: int, axes: Sequence[Axis | None]
) -> tuple[jax.Array, tuple[Axis | None, ...]]:
    """A value as [T', H', W', C'], and where its cells lie.

    Args:
      x: any value of the network.
      channels: its axis of channels.
      axes: where each of its axes lies on the clip.

    Raises:
      ValueError: it has no extent in space and time, or has these axes flattened.
    """
    order = [i for i in range(x.ndim) if i != channels] + [channels]
    x = x.transpose(order)
    kept = volume_axes(x.shape)
    if len(kept) != 4:
        raise ValueError(
            f"`f` must have values [T, H, W, C] to be shown on a clip, got shape "
            f"{x.shape} on the way to `layer`."
        )
    found = [axes[order[i]] for i in kept]
    if any(axis and axis.which != i for i, axis in enumerate(found[:3])):
        raise ValueError(
            f"`f` must have values [T, H, W, C] to be shown on a clip, got shape "
            f"{x.shape} on the way to `layer`, whose axes are others."
        )
    return _volume(x), _in_order(found)


def _in_order(axes):
    """Those of time, height and width, each if it is that of the clip."""
    return tuple(
        axis if axis is not None and axis.which == i else None
        for i, axis in enumerate(axes[:3])
    )


def on_clip(f: Traced, clip: jax.Array, layer: str, cells: jax.Array) -> jax.Array:
    """Shows cells of a layer [T', H', W'] where they lie on the clip, [T, H, W]."""
    return to_clip(cells, clip.shape[:3], place(f, layer))


def _volume(x):
    return x.reshape([x.shape[i] for i in volume_axes(x.shape)])


def volume_axes(shape: Sequence[int]) -> list[int]:
    """Axes of a volume [T', H', W', C']: a batch of one clip is none of them."""
    kept = list(range(len(shape)))
    while len(kept) > 4 and 1 in [shape[i] for i in kept[:-3]]:
        kept.remove(next(i for i in kept if shape[i] == 1))
    return kept
