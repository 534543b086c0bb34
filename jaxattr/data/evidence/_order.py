"""Temporal order decides: a white disc before a black one, or after it.

Each disc has a place and a size of its own and both are there equally long, so that
two clips of one key differ by a permutation of the discs' frames: no frame alone, and
no set of frames without their order, says which class it is.
"""

import jax.numpy as jnp

from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._scene import (
    NUM_FRAMES,
    Draws,
    View,
    between,
    constant,
    flat,
    solid,
    turned,
    whole,
)
from jaxattr.data.evidence._surroundings import (
    PARTS,
    drawn_class,
    quarters,
    surroundings,
)

_LABELS = ("white, then black", "black, then white")
_FRAMES = (3, 5)  # Of each disc.
_PAUSE = (0, 2)  # Frames between them.
_RADIUS = (5.0, 9.0)
_APART = 4.0  # Units, at most, on each axis: neighbours, so that a local rule suffices.
_GREYS = (0.95, 0.05)


def _draw(k_draws, k_texture, own, view: View):
    draws = Draws(k_draws, 64)
    own = drawn_class(draws, own, len(_LABELS))
    places = quarters(draws)
    layers = surroundings(draws, k_texture, places[1], view)

    length, pause, start = draws.take(3)
    length, pause = whole(length, *_FRAMES), whole(pause, *_PAUSE)
    first = whole(start, 0, NUM_FRAMES - 2 * length - pause)
    second = first + length + pause
    frames = jnp.arange(NUM_FRAMES, dtype=jnp.int32)
    discs = []
    for look, grey in enumerate(_GREYS):
        begin = jnp.where(own == look, first, second)
        present = (frames >= begin) & (frames < begin + length)
        y, x = places[0] + between(draws.take(2), -_APART, _APART)
        along, beside = turned(
            view, constant(y), constant(x), jnp.zeros(1, jnp.float32)
        )
        outside = jnp.sqrt(along**2 + beside**2) - between(draws.one(), *_RADIUS)
        colour = flat(jnp.full(3, grey, jnp.float32))
        discs.append(solid(view, outside, colour, present))
    return own, (*layers, *discs)


ORDER = Family(
    name="order",
    decides="which of the white and the black disc comes first",
    labels=_LABELS,
    parts=(*PARTS, "white", "black"),
    evidence=("white", "black"),
    draw=_draw,
    joint=True,
)
