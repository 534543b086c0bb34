"""A planted trigger decides: a patch of two by two fields that swap in every frame.

The same patch at rest lies elsewhere as a decoy, so that it takes space and time to
tell them apart. `plant` puts the trigger into any clip.
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
    decoy = _patch(
        draws, places[1], whole(look, 0, 1), _DECOY_FRAMES, view, swaps=False
    )
    trigger = _patch(draws, places[0], own, _FRAMES, view, swaps=True)
    return own, (*layers, at_times(decoy, there < 0.5), trigger)


def _patch(draws: Draws, place, which, frames, view: View, *, swaps: bool):
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
    turn = since if swaps else jnp.zeros_like(since)
    light = fields(along, beside, turn[:, None, None]) == 1
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
