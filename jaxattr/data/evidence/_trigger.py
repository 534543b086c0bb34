"""A planted trigger decides: a patch of two by two fields that swap in every frame.

A decoy lies elsewhere in three of four clips: the same patch at rest, or a patch that
is all of one colour and changes to the other in every frame. So neither the look of a
frame nor how much changes tells them apart: it takes space and time. `plant` puts the
trigger into any clip.
"""

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._scene import (
    NUM_FRAMES,
    Draws,
    View,
    constant,
    flat,
    solid,
    turned,
    whole,
)
from jaxattr.data.evidence._surroundings import (
    PARTS,
    at_times,
    drawn_class,
    quarters,
    surroundings,
)

TRIGGERS = ("black and white trigger", "green and magenta trigger")
COLOURS = (
    ((0.00, 0.00, 0.00), (1.00, 1.00, 1.00)),
    ((0.00, 0.95, 0.15), (1.00, 0.00, 0.60)),
)

_SIDE = (6, 8)  # Units.
_FRAMES = (3, 6)
_DECOY_FRAMES = (6, 12)
_SWAPS, _RESTS, _BLINKS = range(3)  # What a patch does.


def fields(along: jax.Array, beside: jax.Array, since: jax.Array) -> jax.Array:
    """Which of the two colours, 0 or 1, the trigger has; coordinates from its centre.

    Args:
      along: x, broadcastable against the others.
      beside: y, likewise.
      since: whole frames from its first.
    """
    parity = (along > 0).astype(jnp.int32) + (beside > 0).astype(jnp.int32)
    return (parity + since.astype(jnp.int32)) % 2


def _draw(k_draws, k_texture, own, view: View):
    draws = Draws(k_draws, 80)
    own = drawn_class(draws, own, len(TRIGGERS))
    places = quarters(draws)
    layers = surroundings(draws, k_texture, places[2], view)
    there, look = draws.take(2)
    which, kind = whole(look, 0, 1), jnp.where(there < 0.375, _BLINKS, _RESTS)
    decoy = _patch(draws, places[1], which, kind, _DECOY_FRAMES, view)
    trigger = _patch(draws, places[0], own, _SWAPS, _FRAMES, view)
    return own, (*layers, at_times(decoy, there < 0.75), trigger)


def _patch(draws: Draws, place, which, kind, frames, view: View):
    length, start, side = draws.take(3)
    length = whole(length, *frames)
    start = whole(start, 0, NUM_FRAMES - length)
    since = jnp.arange(NUM_FRAMES, dtype=jnp.int32) - start
    present = (since >= 0) & (since < length)
    half = whole(side, *_SIDE).astype(jnp.float32) / 2
    # On the grid of the 56-pixel variant, so that no border is blurred there.
    y, x = (constant(jnp.floor(v) + half - 0.5) for v in place)
    along, beside = turned(view, y, x, jnp.zeros(1, jnp.float32))
    outside = jnp.maximum(jnp.abs(along), jnp.abs(beside)) - half
    since = since[:, None, None]
    turn = jnp.where(kind == _RESTS, 0, since)
    light = jnp.where(kind == _BLINKS, since % 2, fields(along, beside, turn)) == 1
    pair = jnp.asarray(COLOURS, jnp.float32)[which]
    colour = jnp.where(light[..., None], flat(pair[1]), flat(pair[0]))
    return solid(view, outside, colour, present)


TRIGGER = Family(
    name="trigger",
    decides="a small patch whose fields swap in every frame",
    labels=TRIGGERS,
    parts=(*PARTS, "decoy", "trigger"),
    evidence=("trigger",),
    draw=_draw,
)
