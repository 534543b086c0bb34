"""The masking model itself: a decoder over the layers of a frozen classifier.

The coarsest layer is gated by how much each of its cells resembles the class; from
there a residual block for every layer, the next finer one added on the way, leads to a
mask on the cells of the finest. Parameters are plain dicts of arrays: the layers that
the model reads are the keys of `params["blocks"]`.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._resize import evenly, to_clip
from jaxattr._tap import place, shape_of, unknown
from jaxattr.program import Axis, Traced

Params = dict[str, Any]

_QUIET = 1e-3  # A channel this much below the loudest is not amplified any further.
_NOTHING = 1e-6  # Where both channels of the head are silent the mask is 0.


class Scale(NamedTuple):
    """A layer that the model reads.

    Attributes:
      name: of the tap.
      shape: (T', H', W', C').
      axes: where its cells lie on the clip.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[Axis | None, ...]


class Masked(NamedTuple):
    """What the model says of a clip and a class.

    Attributes:
      cells: [T', H', W'] mask on the cells of the finest layer, 0..1.
      evidence: [] logit that the class is in the clip.
    """

    cells: jax.Array
    evidence: jax.Array


def scales(f: Traced, taps: Iterable[str]) -> tuple[Scale, ...]:
    """The layers of those names from coarse to fine, of equal ones the deeper first.

    Raises:
      ValueError: there is no such layer, or it is not [T', H', W', C'].
    """
    known = list(f.tap_axes())
    found = []
    for name in taps:
        if name not in known:
            raise unknown("taps", name, known, f.absence(name))
        found.append(Scale(name, shape_of(f, name), place(f, name)))
    order = {name: -i for i, name in enumerate(known)}
    return tuple(sorted(found, key=lambda s: (math.prod(s.shape[:3]), order[s.name])))


def initialise(
    key: jax.Array,
    layers: tuple[Scale, ...],
    values: Mapping[str, jax.Array],
    num_classes: int,
    channels: int,
) -> Params:
    """Draws parameters; the mask starts near one half.

    Args:
      key: decides the kernels; biases and the selector start at 0.
      layers: as `scales` gives them.
      values: their values on some clips, [B, T', H', W', C'], which set the scales.
      num_classes: K.
      channels: width of the decoder.
    """
    dtype = values[layers[0].name].dtype
    zeros = jnp.zeros((1, 1, 1, channels), dtype)
    blocks = {}
    for index, layer in enumerate(layers):
        skip_key, space_key, time_key = jax.random.split(
            jax.random.fold_in(key, index), 3
        )
        skip = (layer.shape[-1], channels)
        space, time = (3, 3, channels, channels), (3, 1, channels, channels)
        blocks[layer.name] = {
            "skip": _he(skip_key, skip, dtype),
            "space": _he(space_key, space, dtype),
            "time": _he(time_key, time, dtype),
            "skip_bias": zeros,
            "space_bias": zeros,
            "time_bias": zeros,
        }
    head = {
        "kernel": _he(jax.random.fold_in(key, len(layers)), (channels, 2), dtype) / 10,
        "bias": jnp.ones((1, 1, 1, 2), dtype),
    }
    return {
        "scale": {layer.name: _loudness(values[layer.name]) for layer in layers},
        "selector": jnp.zeros((num_classes, layers[0].shape[-1]), dtype),
        "blocks": blocks,
        "head": head,
    }


def evidence_of(
    params: Params,
    layers: tuple[Scale, ...],
    values: Mapping[str, jax.Array],
    target: Any,
) -> jax.Array:
    """Logit that the class is in the clip, []: what the selector is trained by."""
    top = _scaled(params, layers[0], values)
    return (top @ params["selector"][target]).mean()


def forward(
    params: Params,
    layers: tuple[Scale, ...],
    values: Mapping[str, jax.Array],
    target: Any,
    confidence: jax.Array | float,
) -> Masked:
    """Masks a class.

    Args:
      params: as from `initialise`, in the dtype of the values.
      layers: as `scales` gives them.
      values: layer -> [T', H', W', C'] on one clip, float32 or wider.
      target: [] integer, the class.
      confidence: subtracted from each cell's evidence before the gate.
    """
    top = _scaled(params, layers[0], values)
    likeness = top @ params["selector"][target]
    gate = jax.nn.sigmoid(likeness - confidence)
    blocks = params["blocks"]
    x = _block(blocks[layers[0].name], gate[..., None] * top)
    for coarse, fine in itertools.pairwise(layers):
        x = to_clip(x, fine.shape[:3], _between(coarse, fine))
        x = _block(blocks[fine.name], _scaled(params, fine, values), x)
    head = params["head"]
    both = jnp.abs(x @ head["kernel"] + head["bias"])
    shown, hidden = both[..., 0], both[..., 1]
    return Masked(shown / (shown + hidden + _NOTHING), likeness.mean())


def _block(p, skipped, x=None):
    """A residual block: over space, then over time."""
    skipped = skipped @ p["skip"] + p["skip_bias"]
    x = jax.nn.relu(skipped if x is None else x + skipped)
    frames, height, width, channels = x.shape
    y = jax.nn.relu(_conv(x, p["space"]) + p["space_bias"])
    y = _conv(y.reshape(1, frames, height * width, channels), p["time"])
    return x + jax.nn.relu(y.reshape(x.shape) + p["time_bias"])


def _conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _scaled(params, layer, values):
    # Measured once, as by a batch norm in evaluation mode.
    return values[layer.name] * jax.lax.stop_gradient(params["scale"][layer.name])


def _between(coarse, fine):
    """Where the cells of one layer lie on the cells of the other."""
    return tuple(
        a._replace(stride=a.stride / b.stride, offset=(a.offset - b.offset) / b.stride)
        for i, (m, n) in enumerate(zip(coarse.shape[:3], fine.shape[:3], strict=True))
        for a, b in [_pair(coarse.axes[i], fine.axes[i], i, m, n)]
    )


def _pair(a, b, which, coarse, fine):
    if a is None or b is None:
        return evenly(which, coarse, fine), Axis(which)
    return a, b


def _loudness(x):
    """One over the root mean square of every channel, [1, 1, 1, C]."""
    size = jnp.sqrt((x**2).mean((0, 1, 2, 3)))[None, None, None]
    least = _QUIET * size.max()
    return 1 / jnp.where(least > 0, jnp.maximum(size, least), 1)


def _he(key, shape, dtype):
    fan_in = math.prod(shape[:-1])
    return math.sqrt(2 / fan_in) * jax.random.normal(key, shape, dtype)
