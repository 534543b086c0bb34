"""What every scene is made of: pixels, layers, windows, and the numbers behind them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

NUM_FRAMES, HEIGHT, WIDTH = 16, 56, 56
MEAN, STD = 0.45, 0.25  # A pixel p in 0..1 enters a network as (p - MEAN) / STD.

_PAN = (0.25, 0.55)  # Units per frame: less than half of the slowest motion class.


class View(NamedTuple):
    """Where the pixels lie in the scene, whose unit is a pixel of the 56-pixel variant.

    Attributes:
      rows: [T or 1, H, 1] y of each row; it has a time axis if the camera moves.
      columns: [T or 1, 1, W] x of each column.
      sharpness: pixels per unit; edges are one pixel wide at any resolution.
    """

    rows: jax.Array
    columns: jax.Array
    sharpness: float


class Layer(NamedTuple):
    """One thing in the picture.

    Attributes:
      alpha: [T or 1, H, W], 0 to 1, how much of the pixel it covers.
      colour: [T, H, W, 3], or 1 where an axis does not matter; pixels in 0..1.
      present: [T] bool, the frames in which it is there.
    """

    alpha: jax.Array
    colour: jax.Array
    present: jax.Array


class Draws:
    """Numbers in 0..1, made in one call (each costs time to compile) and handed out."""

    def __init__(self, key: jax.Array, num: int):
        self._numbers = uniform(key, 0.0, 1.0, (num,))
        self._used = 0

    def take(self, num: int) -> jax.Array:
        start, self._used = self._used, self._used + num
        if self._used > len(self._numbers):
            raise ValueError(f"{len(self._numbers)} draws do not suffice.")
        return self._numbers[start : self._used]

    def one(self) -> jax.Array:
        return self.take(1)[0]


def view(size: int, pan: jax.Array | None) -> View:
    """The pixels of a square picture, moved by `pan` [T, 2] or not at all."""
    unit = HEIGHT / size
    pixels = (jnp.arange(size, dtype=jnp.float32) + 0.5) * unit - 0.5
    rows, columns = pixels[None, :, None], pixels[None, None, :]
    if pan is not None:
        rows = rows - pan[:, 0, None, None]
        columns = columns - pan[:, 1, None, None]
    return View(rows, columns, 1 / unit)


def panning(key: jax.Array, share: jax.Array) -> jax.Array:
    """How far the scene has moved [T, 2]: at one slow speed, or not at all."""
    drawn, speed, direction = uniform(key, 0.0, 1.0, (3,))
    speed = between(speed, *_PAN) * (drawn < share).astype(jnp.float32)
    angle = between(direction, 0.0, 2 * jnp.pi)
    velocity = speed * jnp.stack([jnp.sin(angle), jnp.cos(angle)])
    frames = jnp.arange(NUM_FRAMES, dtype=jnp.float32) - (NUM_FRAMES - 1) / 2
    return frames[:, None] * velocity[None]


def uniform(key: jax.Array, low: float, high: float, shape=()) -> jax.Array:
    return jax.random.uniform(key, shape, jnp.float32, low, high)


def between(draw: jax.Array, low, high) -> jax.Array:
    return low + (high - low) * draw


def whole(draw: jax.Array, low, high) -> jax.Array:
    """Integer from `low` to `high`, both included, from a draw in 0..1."""
    span = jnp.asarray(high - low, jnp.int32)
    steps = jnp.floor(draw * (span + 1).astype(jnp.float32)).astype(jnp.int32)
    return low + jnp.minimum(steps, span)


def window(draws: jax.Array, shortest: int, longest: int):
    """Frames since the start [T], the window's middle, and who is inside [T]."""
    length, start = draws
    length = whole(length, shortest, longest)
    start = whole(start, 0, NUM_FRAMES - length)
    since = jnp.arange(NUM_FRAMES, dtype=jnp.int32) - start
    present = (since >= 0) & (since < length)
    middle = (length.astype(jnp.float32) - 1) / 2
    return since.astype(jnp.float32), middle, present


def turned(
    view: View, y: jax.Array, x: jax.Array, angle: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Coordinates [T or 1, H, W] along and beside an object, placed by [T or 1]."""
    y, x, angle = (v[:, None, None] for v in (y, x, angle))
    down = view.rows - y
    across = view.columns - x
    along = jnp.cos(angle) * across + jnp.sin(angle) * down
    beside = jnp.cos(angle) * down - jnp.sin(angle) * across
    return along, beside


def solid(
    view: View, outside: jax.Array, colour: jax.Array, present: jax.Array
) -> Layer:
    """What lies where the signed distance `outside` [T or 1, H, W] is negative."""
    alpha = jnp.clip(0.5 - outside * view.sharpness, 0.0, 1.0)
    alpha = alpha * present.astype(jnp.float32)[:, None, None]
    return Layer(alpha, colour, present)


def constant(value: jax.Array) -> jax.Array:
    """What does not change in time, [1] instead of [T]: drawn once for all frames."""
    return jnp.reshape(value, 1)


def flat(colour: jax.Array) -> jax.Array:
    """One colour [3] for the whole clip, [1, 1, 1, 3]."""
    return colour[None, None, None]
