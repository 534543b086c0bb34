"""Clips whose cause is known: a network can only answer from one moving object.

Each clip shows a drifting texture on which three things lie. The *target*, a striped
red and yellow ball, is there during 6 to 9 of the 16 frames, and what it does in them
is the class. Distractor A, blue and green, performs the motion of another class in a
window of its own; distractor B is a square in the colours of the target that never
moves. So colour alone, motion alone and place say nothing about the class, and the mask
of the target is exactly the evidence. Everything is a pure function of a key: an
endless data set, without files, that runs under `jit` and `vmap`.

Sample i of a split is `render(jax.random.fold_in(split_key(split), i))`, whatever the
size of the batch it is made in. Tune on "dev"; report on "test".
"""

import functools
import itertools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = ("left", "right", "up", "down", "grow", "shrink", "spin", "blink")
NUM_FRAMES, HEIGHT, WIDTH = 16, 56, 56
MEAN, STD = 0.45, 0.25  # A pixel p in 0..1 enters a network as (p - MEAN) / STD.
WINDOW = (6, 9)  # Frames, fewest and most, in which the target is there.

_SPLITS = {"train": 0, "dev": 1, "test": 2}
_DISTRACTOR_WINDOW = (8, 16)

# What each class does, in the order of CLASSES.
_ACROSS = np.array([-1, 1, 0, 0, 0, 0, 0, 0], np.float32)
_DOWN = np.array([0, 0, -1, 1, 0, 0, 0, 0], np.float32)
_GROWS = np.array([0, 0, 0, 0, 1, -1, 0, 0], np.float32)
_SPINS = np.array([0, 0, 0, 0, 0, 0, 1, 0], np.float32)
_BLINKS = np.array([0, 0, 0, 0, 0, 0, 0, 1], np.float32)
_SPEED = (1.3, 2.4)  # Pixels per frame.
_ZOOM = (0.06, 0.10)  # Of the radius, per frame.
_TURN = (0.35, 0.60)  # Radians per frame.
_DIMMED = 0.3  # Brightness of a blinking object while it is off, for two frames each.

_RADIUS = (6.5, 7.7)  # Pixels; with WINDOW and _ZOOM this bounds the evidence at 3.9 %.
_TARGET_COLOURS = ((0.93, 0.10, 0.08), (1.00, 0.84, 0.10))
_OTHER_COLOURS = ((0.06, 0.22, 0.85), (0.10, 0.80, 0.42))
_OCTAVES = ((5, 0.16), (12, 0.12), (28, 0.08))  # Lattice points across, amplitude.
_DRIFT = 1.2  # Pixels per frame, at most, on each axis.
_NOISE = 0.05

# How many random numbers in 0..1 each part of a clip is made from.
_DRAWS = dict(label=2, places=9, target=17, other=17, still=9, texture=7)


class EvidenceClip(NamedTuple):
    """A clip, its class, and the voxels that decide the class.

    Attributes:
      clip: [T, H, W, 3] float32 in network units, (pixel - 0.45) / 0.25.
      target: [] int32, index into `CLASSES`.
      mask: [T, H, W] bool, True where the evidence is: the target covers more than half
        of the pixel. Empty when the target is not shown.
      distractor: [T, H, W] bool, likewise for the visible parts of both distractors.
      window: [T] bool, the frames in which the target is present.
    """

    clip: jax.Array
    target: jax.Array
    mask: jax.Array
    distractor: jax.Array
    window: jax.Array


def split_key(split: Literal["train", "dev", "test"], *, seed: int = 0) -> jax.Array:
    """Returns the key of a split; the splits of one seed share no sample.

    Args:
      split: "train" to fit a network, "dev" to tune anything, "test" to report once.
      seed: chooses another endless data set of the same kind.

    Returns:
      A typed key; sample i of the split is rendered from `fold_in(key, i)`.

    Raises:
      ValueError: if `split` is none of the three.
    """
    if split not in _SPLITS:
        raise ValueError(f"`split` must be one of {list(_SPLITS)}, got {split!r}.")
    root = jax.random.key(seed, impl="threefry2x32")
    return jax.random.fold_in(root, _SPLITS[split])


def batch(
    key: jax.Array,
    num: int,
    *,
    start: int | jax.Array = 0,
    show_target: bool | jax.Array = True,
    show_distractor: bool | jax.Array = True,
) -> EvidenceClip:
    """Renders samples `start` to `start + num` of the data set that belongs to a key.

    Args:
      key: typed key of the data set, as from `split_key`.
      num: how many, N; about 0.7 MB each. A static number: a new one compiles anew.
      start: index of the first one.
      show_target: see `render`.
      show_distractor: see `render`.

    Returns:
      `EvidenceClip` with a leading axis [N] on every field. A sample depends on `key`
      and its own index only.

    Raises:
      ValueError: if `num` is not positive.
    """
    if num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    start = jnp.asarray(start, jnp.int32)
    return _batch(
        key,
        num,
        start,
        jnp.asarray(show_target, bool),
        jnp.asarray(show_distractor, bool),
    )


def render(
    key: jax.Array,
    *,
    target: int | jax.Array | None = None,
    show_target: bool | jax.Array = True,
    show_distractor: bool | jax.Array = True,
) -> EvidenceClip:
    """Renders one clip.

    The switches take an object out and leave every other random choice as it was, so
    that two renders of one key are an intervention: what the network answers without
    the target, it cannot have read from the target.

    Args:
      key: typed key; decides everything.
      target: class to show; None draws it.
      show_target: whether the target is in the picture.
      show_distractor: whether the two distractors are.

    Returns:
      The clip, with its class and exact masks.

    Raises:
      ValueError: if `target` is known and no class.
    """
    if target is None:
        target = -1
    elif not isinstance(target, jax.core.Tracer) and target not in range(len(CLASSES)):
        raise ValueError(
            f"`target` must be an integer from 0 to {len(CLASSES) - 1}, got {target}."
        )
    return _render(
        key,
        jnp.asarray(target, jnp.int32),
        jnp.asarray(show_target, bool),
        jnp.asarray(show_distractor, bool),
    )


@jax.jit
def _render(key, target, show_target, show_distractor) -> EvidenceClip:
    """Renders one clip; a negative `target` is drawn."""
    k_draws, k_texture, k_noise = jax.random.split(key, 3)
    # All scalars in one call: each costs a tenth of a second to compile.
    draws = _uniform(k_draws, 0.0, 1.0, (sum(_DRAWS.values()),))
    ends = list(itertools.accumulate(_DRAWS.values()))[:-1]
    named = dict(zip(_DRAWS, jnp.split(draws, ends)))

    own, shift = named["label"]
    target = jnp.where(target < 0, _whole(own, 0, len(CLASSES) - 1), target)
    shift = _whole(shift, 1, len(CLASSES) - 1)  # So A never does the target's motion.
    at_target, at_other, at_still = _places(named["places"])
    ball = _moving(named["target"], target, at_target, WINDOW, _TARGET_COLOURS)
    other = _moving(
        named["other"],
        (target + shift) % len(CLASSES),
        at_other,
        _DISTRACTOR_WINDOW,
        _OTHER_COLOURS,
        may_be_square=True,
    )
    still = _still(named["still"], at_still)

    picture = _texture(k_texture, named["texture"])
    picture = _paint(picture, still, show_distractor)
    picture = _paint(picture, other, show_distractor)
    picture = _paint(picture, ball, show_target)
    noise = _uniform(k_noise, -_NOISE, _NOISE, picture.shape)
    picture = jnp.clip(picture + noise, 0.0, 1.0)

    mask = (ball.alpha > 0.5) & show_target
    covered = (other.alpha > 0.5) | (still.alpha > 0.5)
    return EvidenceClip(
        clip=(picture - MEAN) / STD,
        target=target,
        mask=mask,
        distractor=covered & show_distractor & ~mask,
        window=ball.present & show_target,
    )


@functools.partial(jax.jit, static_argnames="num")
def _batch(key, num, start, show_target, show_distractor):
    def sample(index):
        key_of_sample = jax.random.fold_in(key, index)
        return _render(key_of_sample, jnp.int32(-1), show_target, show_distractor)

    # One after the other: on a CPU twice as fast as side by side, and less to compile.
    return jax.lax.map(sample, start + jnp.arange(num, dtype=jnp.int32))


class _Layer(NamedTuple):
    alpha: jax.Array  # [T, H, W], 0 to 1, how much of the pixel is covered.
    colour: jax.Array  # [T, H, W, 3]
    present: jax.Array  # [T] bool


def _paint(picture: jax.Array, layer: _Layer, shown: jax.Array) -> jax.Array:
    alpha = (layer.alpha * shown.astype(jnp.float32))[..., None]
    return picture + alpha * (layer.colour - picture)


def _uniform(key: jax.Array, low: float, high: float, shape=()) -> jax.Array:
    return jax.random.uniform(key, shape, jnp.float32, low, high)


def _between(draw: jax.Array, low, high) -> jax.Array:
    return low + (high - low) * draw


def _whole(draw: jax.Array, low, high) -> jax.Array:
    """Integer from `low` to `high`, both included, from a draw in 0..1."""
    span = jnp.asarray(high - low, jnp.int32)
    steps = jnp.floor(draw * (span + 1).astype(jnp.float32)).astype(jnp.int32)
    return low + jnp.minimum(steps, span)


def _places(draws: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Centres (y, x) of the three objects, apart without being in fixed places.

    The target stays 10 px around the middle, so that no motion carries it out of the
    picture; B lies in the opposite quarter, A opposite on one axis only.
    """
    middle = jnp.asarray([(HEIGHT - 1) / 2, (WIDTH - 1) / 2], jnp.float32)
    offset = _between(draws[0:2], -10.0, 10.0)
    away = -jnp.sign(offset)
    opposite = away * _between(draws[2:4], 9.0, 17.0)
    free = _between(draws[4:6], -14.0, 14.0)
    still = away * _between(draws[6:8], 12.0, 21.0)
    on_axis = jnp.arange(2, dtype=jnp.int32) == _whole(draws[8], 0, 1)
    return middle + offset, middle + jnp.where(on_axis, opposite, free), middle + still


def _moving(
    draws: jax.Array,
    motion: jax.Array,
    centre: jax.Array,
    window: tuple[int, int],
    colours: tuple,
    *,
    may_be_square: bool = False,
) -> _Layer:
    """An object that performs a motion in a random window and is absent outside it."""
    when, rates, look = draws[:3], draws[3:10], draws[10:]
    since, middle, present, phase = _window(when, *window)
    u = since - middle  # [T] frames from the middle of the window.

    speed, zoom, turn, sense, radius, angle, shape = rates
    speed, zoom = _between(speed, *_SPEED), _between(zoom, *_ZOOM)
    turn = _between(turn, *_TURN) * jnp.sign(sense - 0.5)
    y = centre[0] + jnp.asarray(_DOWN)[motion] * speed * u
    x = centre[1] + jnp.asarray(_ACROSS)[motion] * speed * u
    size = jnp.exp(jnp.asarray(_GROWS)[motion] * zoom * u)
    radius = _between(radius, *_RADIUS) * size
    angle = _between(angle, 0.0, 2 * np.pi) + jnp.asarray(_SPINS)[motion] * turn * u
    off = jnp.floor((since + phase) / 2) % 2 * jnp.asarray(_BLINKS)[motion]
    brightness = 1 - (1 - _DIMMED) * off

    square = (shape < 0.5) & may_be_square
    layer = _draw(look, y, x, radius, angle, square, colours)
    return _Layer(
        layer.alpha * present.astype(jnp.float32)[:, None, None],
        layer.colour * brightness[:, None, None, None],
        present,
    )


def _window(draws: jax.Array, shortest: int, longest: int):
    """Frames since the start [T], the window's middle, who is inside, blink phase."""
    length, start, phase = draws
    length = _whole(length, shortest, longest)
    start = _whole(start, 0, NUM_FRAMES - length)
    since = jnp.arange(NUM_FRAMES, dtype=jnp.int32) - start
    present = (since >= 0) & (since < length)
    middle = (length.astype(jnp.float32) - 1) / 2
    phase = _whole(phase, 0, 3).astype(jnp.float32)
    return since.astype(jnp.float32), middle, present, phase


def _still(draws: jax.Array, centre: jax.Array) -> _Layer:
    """A square in the target's colours, in every frame, that does nothing."""
    radius, angle = draws[:2]
    ones = jnp.ones(NUM_FRAMES, jnp.float32)
    return _draw(
        draws[2:],
        centre[0] * ones,
        centre[1] * ones,
        _between(radius, 4.0, 5.0) * ones,
        _between(angle, 0.0, 2 * np.pi) * ones,
        jnp.asarray(True),
        _TARGET_COLOURS,
    )


def _draw(
    look: jax.Array,
    y: jax.Array,
    x: jax.Array,
    radius: jax.Array,
    angle: jax.Array,
    square: jax.Array,
    colours: tuple,
) -> _Layer:
    """Draws a striped disc or square; every geometric argument is per frame, [T]."""
    y, x, radius, angle = (v[:, None, None] for v in (y, x, radius, angle))
    down = jnp.arange(HEIGHT, dtype=jnp.float32)[None, :, None] - y
    across = jnp.arange(WIDTH, dtype=jnp.float32)[None, None, :] - x
    along = jnp.cos(angle) * across + jnp.sin(angle) * down
    beside = jnp.cos(angle) * down - jnp.sin(angle) * across
    disc_distance = jnp.sqrt(along**2 + beside**2)
    square_distance = jnp.maximum(jnp.abs(along), jnp.abs(beside))
    distance = jnp.where(square, square_distance, disc_distance)
    # An edge one pixel wide: half covered exactly where the distance is the radius.
    alpha = jnp.clip(radius - distance + 0.5, 0.0, 1.0)

    jitter = _between(look[:6], -0.05, 0.05).reshape(2, 3)
    dark, light = jnp.asarray(colours, jnp.float32) + jitter
    wave = jnp.sin(2 * np.pi * (along / radius + look[6]))
    stripe = (0.5 + 0.5 * jnp.tanh(2.5 * wave))[..., None]
    colour = dark[None, None, None] * (1 - stripe) + light[None, None, None] * stripe
    rim = jnp.clip(radius - distance, 0.0, 1.5)[..., None] / 1.5
    return _Layer(
        alpha, colour * (0.45 + 0.55 * rim), jnp.ones(radius.shape[0], jnp.bool_)
    )


def _texture(key: jax.Array, draws: jax.Array) -> jax.Array:
    """Drifting periodic value noise [T, H, W, 3], mostly grey, around 0.45."""
    velocity = _between(draws[0:2], -_DRIFT, _DRIFT)[None]
    begin = (draws[2:4] * HEIGHT)[None]
    moved = begin + jnp.arange(NUM_FRAMES, dtype=jnp.float32)[:, None] * velocity
    tint = _between(draws[4:7], -0.06, 0.06)
    picture = (MEAN + tint)[None, None, None]
    sizes = [4 * points**2 for points, _ in _OCTAVES]
    values = _uniform(key, -1.0, 1.0, (sum(sizes),))
    parts = jnp.split(values, list(itertools.accumulate(sizes))[:-1])
    for (points, amplitude), part in zip(_OCTAVES, parts):
        values = part.reshape(points, points, 4)
        lattice = 0.85 * values[..., :1] + 0.3 * values[..., 1:]
        rows = _interpolation(moved[:, 0], HEIGHT, points)
        columns = _interpolation(moved[:, 1], WIDTH, points)
        noise = jnp.einsum("tyi,txj,ijc->tyxc", rows, columns, lattice)
        picture = picture + amplitude * noise
    return picture


def _interpolation(offset: jax.Array, size: int, points: int) -> jax.Array:
    """Weights [T, size, points] of a periodic lattice at pixels moved by `offset` [T].

    A product with a small matrix instead of a gather: far cheaper on a CPU. The smooth
    step keeps the lattice from showing as creases.
    """
    pixels = jnp.arange(size, dtype=jnp.float32)[None, :, None] + offset[:, None, None]
    lattice = jnp.arange(points, dtype=jnp.float32)[None, None, :]
    gap = (pixels * (points / size) - lattice) % points
    near = jnp.clip(1 - jnp.minimum(gap, points - gap), 0.0, 1.0)
    return near * near * (3 - 2 * near)
