"""Puts the trigger of the family "trigger" into any clip."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._scene import MEAN, STD
from jaxattr.data.evidence._trigger import COLOURS, fields


class Planted(NamedTuple):
    """A clip with a trigger in it.

    Attributes:
      clip: [T, H, W, 3], as the clip that came, but for the trigger.
      mask: [T, H, W] bool, True in the voxels of the trigger.
    """

    clip: jax.Array
    mask: jax.Array


def plant(
    clip: jax.Array,
    *,
    trigger: int | jax.Array = 0,
    side: int | None = None,
    num_frames: int | None = None,
    where: Sequence[int] | jax.Array | None = None,
    key: jax.Array | None = None,
    mean: float | Sequence[float] = MEAN,
    std: float | Sequence[float] = STD,
) -> Planted:
    """Puts a trigger into a clip: two by two fields that swap colours in every frame.

    Args:
      clip: [T, H, W, 3], floating point, in network units; any T, H, W.
      trigger: which one, 0 (black and white) or 1 (green and magenta).
      side: its height and width in pixels; None takes an eighth of the clip's shorter
        side, as in the family "trigger", but at least 2.
      num_frames: how many frames it lasts; None takes 4, or all if there are fewer.
      where: first frame, top row and left column of it; may be traced, and whatever
        then lies outside of the clip is cut off. None draws a place, with `key`.
      key: typed key for the place.
      mean: of the network's normalisation, one number or one per channel.
      std: likewise.

    Returns:
      The clip with the trigger, and where that is. It is fixed, drawn over what was
      there; composes with `jit` and `vmap`.

    Raises:
      TypeError: if `clip` is not floating point.
      ValueError: if it does not have the shape [T, H, W, 3], there is no such trigger,
        it does not fit at `where`, or neither `where` nor `key` is given.
    """
    clip = jnp.asarray(clip)
    if not jnp.issubdtype(clip.dtype, jnp.floating):
        raise TypeError(f"`clip` must be floating point, got {clip.dtype}.")
    if clip.ndim != 4 or clip.shape[-1] != 3:
        raise ValueError(f"`clip` must have shape [T, H, W, 3], got {clip.shape}.")
    if not isinstance(trigger, jax.core.Tracer) and trigger not in range(len(COLOURS)):
        raise ValueError(f"`trigger` must be 0 or 1, got {trigger}.")
    frames, height, width, _ = clip.shape
    if side is None:
        side = max(2, round(min(height, width) / 8))
    if num_frames is None:
        num_frames = min(4, frames)
    extent = (num_frames, side, side)
    for name, value, most in (
        ("side", side, min(height, width)),
        ("num_frames", num_frames, frames),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"`{name}` must be from 1 to {most}, got {value}.")
    room = [have - need for have, need in zip(clip.shape, extent)]
    place = _place(where, key, room)

    times, rows, columns = jnp.meshgrid(
        *(jnp.arange(n, dtype=jnp.int32) for n in clip.shape[:3]),
        indexing="ij",
        sparse=True,
    )
    since, down, across = times - place[0], rows - place[1], columns - place[2]
    mask = jnp.ones(clip.shape[:3], bool)
    for offset, length in zip((since, down, across), extent):
        mask = mask & (offset >= 0) & (offset < length)
    # Twice the distance from the centre, so that it is whole at every side.
    light = fields(2 * across + 1 - side, 2 * down + 1 - side, since) == 1
    dark_and_light = jnp.asarray(COLOURS, jnp.float32)[trigger]
    dark_and_light = _normalised(dark_and_light, mean, std).astype(clip.dtype)
    dark, bright = (colour[None, None, None] for colour in dark_and_light)
    pattern = jnp.where(light[..., None], bright, dark)
    return Planted(jnp.where(mask[..., None], pattern, clip), mask)


def _place(where, key, room: list[int]) -> jax.Array:
    """First frame, row and column, [3] int32."""
    if where is None:
        if key is None:
            raise ValueError("`where` or `key` must be given: the place, or its key.")
        most = jnp.asarray(room, jnp.int32)
        return jax.random.randint(key, (3,), 0, most + 1, jnp.int32)
    if len(where) != 3:
        raise ValueError(f"`where` must be (frame, row, column), got {where}.")
    known = not any(isinstance(v, jax.core.Tracer) for v in (where, *where))
    if known and not all(0 <= int(v) <= most for v, most in zip(where, room)):
        raise ValueError(
            f"`where` must be (frame, row, column) from (0, 0, 0) to {tuple(room)} for "
            f"this trigger to fit, got {tuple(map(int, where))}."
        )
    return jnp.asarray(where, jnp.int32)


def _normalised(pixels: jax.Array, mean, std) -> jax.Array:
    """Colours [2, 3] in network units."""
    mean, std = (
        jnp.broadcast_to(jnp.asarray(v, jnp.float32), (3,)) for v in (mean, std)
    )
    return (pixels - mean[None]) / std[None]
