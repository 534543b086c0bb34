"""Appearance decides: the shape of a magenta object, whether or not it moves."""

import jax.numpy as jnp

from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._scene import (
    HEIGHT,
    WIDTH,
    Draws,
    View,
    between,
    constant,
    flat,
    solid,
    turned,
    window,
)
from jaxattr.data.evidence._surroundings import (
    PARTS,
    drawn_class,
    quarters,
    surroundings,
)

_LABELS = ("disc", "ring", "cross", "checks")
_RADIUS = (6.0, 16.0)  # Units; small ones are more frequent.
_FRAMES = (6, 16)
_SPEED = 1.0  # Units per frame, at most; half of the objects do not move.
_MAGENTA, _DARK = (0.95, 0.12, 0.75), (0.12, 0.02, 0.10)


def _draw(k_draws, k_texture, own, view: View):
    draws = Draws(k_draws, 64)
    own = drawn_class(draws, own, len(_LABELS))
    places = quarters(draws)
    layers = surroundings(draws, k_texture, places[1], view)

    small, large = _RADIUS
    radius = small * (large / small) ** draws.one()
    since, middle, present = window(draws.take(2), *_FRAMES)
    moves, speed, direction, angle = draws.take(4)
    speed = _SPEED * speed * (moves < 0.5).astype(jnp.float32)
    direction = between(direction, 0.0, 2 * jnp.pi)
    # A large one stays near the middle: its border must be seen.
    half = jnp.asarray([(HEIGHT - 1) / 2, (WIDTH - 1) / 2], jnp.float32)
    room = jnp.maximum(25.0 - radius, 4.0)
    centre = half + jnp.clip(places[0] - half, -room, room)
    y = centre[0] + jnp.sin(direction) * speed * (since - middle)
    x = centre[1] + jnp.cos(direction) * speed * (since - middle)
    angle = constant(between(angle, 0.0, 2 * jnp.pi))

    along, beside = turned(view, y, x, angle)
    a, b, distance = jnp.abs(along), jnp.abs(beside), jnp.sqrt(along**2 + beside**2)
    arm, side = 0.34 * radius, 0.9 * radius
    outside = jnp.select(
        [own == 0, own == 1, own == 2],
        [
            distance - radius,
            jnp.abs(distance - 0.8 * radius) - 0.2 * radius,
            jnp.minimum(
                jnp.maximum(a - arm, b - radius), jnp.maximum(b - arm, a - radius)
            ),
        ],
        jnp.maximum(a, b) - side,
    )
    # Three by three fields, the dark ones in the middles of the sides.
    thirds = jnp.cos(jnp.pi * along / (side * 2 / 3)) * jnp.cos(
        jnp.pi * beside / (side * 2 / 3)
    )
    dark = ((own == 3) & (thirds < 0))[..., None]
    jitter = between(draws.take(3), -0.05, 0.05)
    magenta = flat(jnp.asarray(_MAGENTA, jnp.float32) + jitter)
    colour = jnp.where(dark, flat(jnp.asarray(_DARK, jnp.float32)), magenta)
    return own, (*layers, solid(view, outside, colour, present))


APPEARANCE = Family(
    name="appearance",
    decides="the shape of the magenta object",
    labels=_LABELS,
    parts=(*PARTS, "object"),
    evidence=("object",),
    draw=_draw,
)
