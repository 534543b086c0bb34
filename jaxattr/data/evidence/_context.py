"""The context decides, a shortcut: what grows along the border, not the object.

The region is a band along one side or one corner, patterned like sand, water or grass
in every frame. A pink and brown ball that moves through the picture looks like the
subject and says nothing.
"""

import jax.numpy as jnp
import numpy as np

from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._scene import (
    HEIGHT,
    NUM_FRAMES,
    Draws,
    View,
    between,
    solid,
    whole,
)
from jaxattr.data.evidence._striped import MOTIONS, MOVING_DRAWS, moving
from jaxattr.data.evidence._surroundings import (
    PARTS,
    at_times,
    drawn_class,
    quarters,
    surroundings,
)

_LABELS = ("sand", "water", "grass")
_DARK = ((0.72, 0.52, 0.30), (0.05, 0.38, 0.55), (0.10, 0.30, 0.02))
_LIGHT = ((0.98, 0.86, 0.58), (0.40, 0.78, 0.88), (0.42, 0.62, 0.12))
# Waves per unit (y, x): across, steep or level.
_WAVES = np.array([(0.14, 0.14), (0.20, 0.03), (0.0, 0.24)], np.float32)
_BAND, _CORNER = (8.0, 17.0), (13.0, 22.0)  # Units.
_BALL = ((0.40, 0.20, 0.10), (0.98, 0.66, 0.72))


def _draw(k_draws, k_texture, own, view: View):
    draws = Draws(k_draws, 80)
    own = drawn_class(draws, own, len(_LABELS))
    places = quarters(draws)
    layers = surroundings(draws, k_texture, places[1], view)

    corner, below, right, lying, size, phase, flow = draws.take(7)
    last = HEIGHT - 0.5
    size = jnp.where(corner < 0.5, between(size, *_CORNER), between(size, *_BAND))
    y, x = jnp.broadcast_arrays(view.rows, view.columns)
    vertical = jnp.where(below < 0.5, y + 0.5, last - y) - size
    horizontal = jnp.where(right < 0.5, x + 0.5, last - x) - size
    band = jnp.where(lying < 0.5, vertical, horizontal)
    outside = jnp.where(corner < 0.5, jnp.maximum(vertical, horizontal), band)

    rate = jnp.asarray(_WAVES)[own]
    frames = jnp.arange(NUM_FRAMES, dtype=jnp.float32)[:, None, None]
    turn = phase + between(flow, -0.06, 0.06) * frames + rate[0] * y + rate[1] * x
    wave = (0.5 + 0.5 * jnp.sin(2 * np.pi * turn))[..., None]
    dark, light = (jnp.asarray(c, jnp.float32)[own] for c in (_DARK, _LIGHT))
    colour = dark[None, None, None] * (1 - wave) + light[None, None, None] * wave
    region = solid(view, outside, colour, jnp.ones(NUM_FRAMES, bool))

    motion = whole(draws.one(), 0, len(MOTIONS) - 1)
    ball = moving(draws.take(MOVING_DRAWS), motion, places[0], (8, 16), _BALL, view)
    return own, (*layers, region, at_times(ball, draws.one() < 0.8))


CONTEXT = Family(
    name="context",
    decides="the pattern along the border; the ball is a decoy",
    labels=_LABELS,
    parts=(*PARTS, "region", "ball"),
    evidence=("region",),
    draw=_draw,
)
