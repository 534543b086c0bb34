"""What a metric removes at once: the units of a clip, and the order of their heat."""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import widen
from jaxattr._segments import check_segments
from jaxattr.metrics._inputs import check_heatmap

Unit = Literal["voxel", "block", "frame", "supervoxel"]
Order = Literal["most_first", "least_first"]
Reduce = Literal["mean", "sum"]

_GRID = 16  # Blocks per side: the study's are 7 x 7 pixels of 112.


class Layout(NamedTuple):
    """The units of one clip.

    Attributes:
      num: slots, at least as many as units; static.
      present: [num] bool, the slots that hold a unit.
      count: [] int32 units.
      pool: map [T, H, W] -> [num] heat of every unit.
      spread: [num] -> [T, H, W], to every voxel what its unit has.
    """

    num: int
    present: jax.Array
    count: jax.Array
    pool: Callable[[jax.Array], jax.Array]
    spread: Callable[[jax.Array], jax.Array]


class Ranking(NamedTuple):
    """The order in which units are taken.

    Attributes:
      position: [T, H, W] int32, place in the order of the unit of every voxel, from 0.
      count: [] int32 units.
      tied: [] share of neighbours in the order that have equal heat, 0..1; 1 where
        the map is constant.
    """

    position: jax.Array
    count: jax.Array
    tied: jax.Array


@dataclasses.dataclass(frozen=True)
class Units:
    """The settings that say what a unit is; static.

    Attributes:
      unit: "voxel"; "block" of pixels in one frame; whole "frame"; "supervoxel", one
        frame's part of a segment.
      block: of the unit "block", (h, w) or (t, h, w) voxels, or one number for both
        sides; None takes H/16 x W/16 of one frame, or what divides it nearest to that.
      reduce: heat of a supervoxel, "mean" or "sum" over its voxels.
    """

    unit: Unit
    block: Any = None
    reduce: Reduce = "mean"

    def __post_init__(self):
        check_name("unit", self.unit, Unit)
        check_name("reduce", self.reduce, Reduce)
        if self.reduce != "mean" and self.unit != "supervoxel":
            raise ValueError(
                f"`reduce` is for unit='supervoxel': units of unit={self.unit!r} are "
                "of one size."
            )
        if self.block is not None:
            if self.unit != "block":
                raise ValueError(f"`block` is for unit='block', got {self.unit!r}.")
            object.__setattr__(self, "block", _as_block(self.block))

    @property
    def inputs(self) -> dict[str, Callable[[Any, Any], jax.Array]]:
        """What the call of a metric takes after the target; see `explainer`."""
        if self.unit == "supervoxel":
            return {"heatmap": check_heatmap, "segments": check_segments}
        return {"heatmap": check_heatmap}

    def layout(
        self, shape: tuple[int, int, int], segments: jax.Array | None = None
    ) -> Layout:
        """The units of a clip [T, H, W, ...].

        Raises:
          ValueError: blocks that do not divide the clip.
        """
        if segments is not None:
            return _supervoxels(segments, self.reduce)
        if self.unit == "voxel":
            return _blocks(shape, (1, 1, 1))
        if self.unit == "frame":
            return _blocks(shape, (1, *shape[1:]))
        block = self.block or (1, *map(_side, shape[1:]))
        if not all(b and s % b == 0 for s, b in zip(shape, block)):
            raise ValueError(
                f"`block` {block} does not divide a clip of {shape} [T, H, W]: pass "
                "block=(t, h, w) that does."
            )
        return _blocks(shape, block)


def ranking(layout: Layout, heatmap: jax.Array, order: Order) -> Ranking:
    """Orders units by heat; equal heat leaves them in order of frame, row, column.

    Args:
      layout: the units.
      heatmap: [T, H, W].
      order: "most_first" or "least_first".
    """
    heat = layout.pool(widen(heatmap))
    key = jnp.where(layout.present, -heat if order == "most_first" else heat, jnp.inf)
    sequence = jnp.argsort(key, stable=True)
    places = jnp.arange(layout.num, dtype=jnp.int32)
    place = jnp.zeros_like(places).at[sequence].set(places, unique_indices=True)
    heat = heat[sequence]
    pairs = places[1:] < layout.count
    tied = ((heat[1:] == heat[:-1]) & pairs).sum(dtype=jnp.int32) / jnp.maximum(
        layout.count - 1, 1
    )
    return Ranking(layout.spread(place), layout.count, tied.astype(heat.dtype))


def check_name(argument: str, value: Any, names: Any) -> None:
    """Raises ValueError unless `value` is one of the names of a Literal."""
    if value not in get_args(names):
        raise ValueError(
            f"`{argument}` must be one of {get_args(names)}, got {value!r}."
        )


def _side(length):
    """The divisor of a length that is nearest to 1/16 of it, the larger of two."""
    divisors = [n for n in range(1, length + 1) if length % n == 0]
    return min(divisors, key=lambda n: (abs(n - length / _GRID), -n))


def _as_block(block):
    sides = (block, block) if np.ndim(block) == 0 else tuple(block)
    try:
        sides = tuple(map(operator.index, sides))
    except TypeError:
        sides = ()
    if len(sides) not in (2, 3) or min(sides) < 1:
        raise ValueError(
            "`block` must be (t, h, w) or (h, w), integers of at least 1, got "
            f"{block!r}."
        )
    return (1, *sides)[-3:]


def _blocks(shape, block):
    grid = tuple(s // b for s, b in zip(shape, block))
    pairs = tuple(n for pair in zip(grid, block) for n in pair)
    num = grid[0] * grid[1] * grid[2]

    def pool(heat):
        return heat.reshape(pairs).mean((1, 3, 5)).ravel()

    def spread(values):
        values = values.reshape(grid[0], 1, grid[1], 1, grid[2], 1)
        return jnp.broadcast_to(values, pairs).reshape(shape)

    return Layout(num, jnp.ones(num, bool), jnp.int32(num), pool, spread)


def _supervoxels(segments, reduce):
    frames, num = segments.shape[0], segments.size

    # Labels are any integers: in every frame they are numbered anew, from 0.
    def number(frame):
        return jnp.unique(frame, return_inverse=True, size=frame.size)[1].ravel()

    labels = jax.vmap(number)(segments.reshape(frames, -1)).astype(jnp.int32)
    first = jnp.arange(frames, dtype=jnp.int32) * (num // frames)
    index = (labels + first[:, None]).ravel()
    voxels = jnp.zeros(num, jnp.int32).at[index].add(1)

    def pool(heat):
        total = jnp.zeros(num, heat.dtype).at[index].add(heat.ravel())
        share = jnp.maximum(voxels, 1).astype(heat.dtype)
        return total / share if reduce == "mean" else total

    def spread(values):
        return values[index].reshape(segments.shape)

    present = voxels > 0
    return Layout(num, present, present.sum(dtype=jnp.int32), pool, spread)
