"""Striped discs and squares: those that perform a motion, and those that stay."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.data.evidence._scene import (
    NUM_FRAMES,
    Layer,
    View,
    between,
    constant,
    turned,
    whole,
    window,
)

MOTIONS = ("left", "right", "up", "down", "grow", "shrink", "spin", "blink")
WARM = ((0.93, 0.10, 0.08), (1.00, 0.84, 0.10))  # Red and yellow.
COLD = ((0.06, 0.22, 0.85), (0.10, 0.80, 0.42))  # Blue and green.
MOVING_DRAWS, STILL_DRAWS = 17, 9

# What each motion does, in the order of MOTIONS.
_ACROSS = np.array([-1, 1, 0, 0, 0, 0, 0, 0], np.float32)
_DOWN = np.array([0, 0, -1, 1, 0, 0, 0, 0], np.float32)
_GROWS = np.array([0, 0, 0, 0, 1, -1, 0, 0], np.float32)
_SPINS = np.array([0, 0, 0, 0, 0, 0, 1, 0], np.float32)
_BLINKS = np.array([0, 0, 0, 0, 0, 0, 0, 1], np.float32)
_SPEED = (1.3, 2.4)  # Units per frame.
_ZOOM = (0.06, 0.10)  # Of the radius, per frame.
_TURN = (0.35, 0.60)  # Radians per frame.
_DIMMED = 0.3  # Brightness of a blinking object while it is off, for two frames each.
_RADIUS = (6.5, 7.7)  # Units; with a window of 9 frames at most 3.9 % of the voxels.


def moving(
    draws: jax.Array,
    motion: jax.Array,
    centre: jax.Array,
    frames: tuple[int, int],
    colours: tuple,
    view: View,
    *,
    may_be_square: bool = False,
) -> Layer:
    """An object that performs a motion in a random window and is absent outside it."""
    when, phase, rates, look = draws[:2], draws[2], draws[3:10], draws[10:]
    since, middle, present = window(when, *frames)
    phase = whole(phase, 0, 3).astype(jnp.float32)
    u = since - middle  # [T] frames from the middle of the window.

    speed, zoom, turn, sense, radius, angle, shape = rates
    speed, zoom = between(speed, *_SPEED), between(zoom, *_ZOOM)
    turn = between(turn, *_TURN) * jnp.sign(sense - 0.5)
    y = centre[0] + jnp.asarray(_DOWN)[motion] * speed * u
    x = centre[1] + jnp.asarray(_ACROSS)[motion] * speed * u
    size = jnp.exp(jnp.asarray(_GROWS)[motion] * zoom * u)
    radius = between(radius, *_RADIUS) * size
    angle = between(angle, 0.0, 2 * np.pi) + jnp.asarray(_SPINS)[motion] * turn * u
    off = jnp.floor((since + phase) / 2) % 2 * jnp.asarray(_BLINKS)[motion]
    brightness = 1 - (1 - _DIMMED) * off

    square = (shape < 0.5) & may_be_square
    layer = _striped(look, y, x, radius, angle, square, colours, view)
    return Layer(
        layer.alpha * present.astype(jnp.float32)[:, None, None],
        layer.colour * brightness[:, None, None, None],
        present,
    )


def still(draws: jax.Array, centre: jax.Array, view: View) -> Layer:
    """A square in warm colours, in every frame, that does nothing."""
    radius, angle = draws[:2]
    return _striped(
        draws[2:],
        constant(centre[0]),
        constant(centre[1]),
        constant(between(radius, 4.0, 5.0)),
        constant(between(angle, 0.0, 2 * np.pi)),
        jnp.asarray(True),
        WARM,
        view,
    )


def _striped(
    look: jax.Array,
    y: jax.Array,
    x: jax.Array,
    radius: jax.Array,
    angle: jax.Array,
    square: jax.Array,
    colours: tuple,
    view: View,
) -> Layer:
    """Draws a striped disc or square; every geometric argument is [T or 1]."""
    along, beside = turned(view, y, x, angle)
    radius = radius[:, None, None]
    disc_distance = jnp.sqrt(along**2 + beside**2)
    square_distance = jnp.maximum(jnp.abs(along), jnp.abs(beside))
    distance = jnp.where(square, square_distance, disc_distance)
    # An edge one pixel wide: half covered exactly where the distance is the radius.
    alpha = jnp.clip((radius - distance) * view.sharpness + 0.5, 0.0, 1.0)

    jitter = between(look[:6], -0.05, 0.05).reshape(2, 3)
    dark, light = jnp.asarray(colours, jnp.float32) + jitter
    wave = jnp.sin(2 * np.pi * (along / radius + look[6]))
    stripe = (0.5 + 0.5 * jnp.tanh(2.5 * wave))[..., None]
    colour = dark[None, None, None] * (1 - stripe) + light[None, None, None] * stripe
    rim = jnp.clip(radius - distance, 0.0, 1.5)[..., None] / 1.5
    return Layer(alpha, colour * (0.45 + 0.55 * rim), jnp.ones(NUM_FRAMES, jnp.bool_))
