"""Motion decides: what a red and yellow ball does in the frames in which it is there.

Distractor A, "mover", blue and green, performs the motion of another class in a window
of its own; distractor B, "still", is a square in the colours of the target that never
moves. So colour alone, motion alone and place say nothing about the class.
"""

import itertools

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._scene import (
    HEIGHT,
    WIDTH,
    Layer,
    View,
    between,
    uniform,
    whole,
)
from jaxattr.data.evidence._striped import COLD, MOTIONS, WARM, moving, still
from jaxattr.data.evidence._texture import texture

WINDOW = (6, 9)  # Frames, fewest and most, in which the target is there.

_DISTRACTOR_WINDOW = (8, 16)

# How many random numbers in 0..1 each part of a clip is made from.
_DRAWS = dict(label=2, places=9, target=17, other=17, still=9, texture=7)


def _draw(k_draws, k_texture, own, view: View) -> tuple[jax.Array, tuple[Layer, ...]]:
    draws = uniform(k_draws, 0.0, 1.0, (sum(_DRAWS.values()),))
    ends = list(itertools.accumulate(_DRAWS.values()))[:-1]
    named = dict(zip(_DRAWS, jnp.split(draws, ends)))

    label, shift = named["label"]
    own = jnp.where(own < 0, whole(label, 0, len(MOTIONS) - 1), own)
    shift = whole(shift, 1, len(MOTIONS) - 1)  # So A never does the target's motion.
    at_target, at_other, at_still = _places(named["places"])
    ball = moving(named["target"], own, at_target, WINDOW, WARM, view)
    other = moving(
        named["other"],
        (own + shift) % len(MOTIONS),
        at_other,
        _DISTRACTOR_WINDOW,
        COLD,
        view,
        may_be_square=True,
    )
    square = still(named["still"], at_still, view)

    picture = texture(k_texture, named["texture"], view)
    everywhere = jnp.ones(picture.shape[:3], jnp.float32)
    background = Layer(everywhere, picture, jnp.ones(picture.shape[0], bool))
    return own, (background, square, other, ball)


def _places(draws: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Centres (y, x) of the three objects, apart without being in fixed places.

    The target stays 10 px around the middle, so that no motion carries it out of the
    picture; B lies in the opposite quarter, A opposite on one axis only.
    """
    middle = jnp.asarray([(HEIGHT - 1) / 2, (WIDTH - 1) / 2], jnp.float32)
    offset = between(draws[0:2], -10.0, 10.0)
    away = -jnp.sign(offset)
    opposite = away * between(draws[2:4], 9.0, 17.0)
    free = between(draws[4:6], -14.0, 14.0)
    still_at = away * between(draws[6:8], 12.0, 21.0)
    on_axis = jnp.arange(2, dtype=jnp.int32) == whole(draws[8], 0, 1)
    return (
        middle + offset,
        middle + jnp.where(on_axis, opposite, free),
        middle + still_at,
    )


MOTION = Family(
    name="motion",
    decides="what the red and yellow ball does",
    labels=MOTIONS,
    parts=("background", "still", "mover", "target"),
    evidence=("target",),
    draw=_draw,
)
