"""What lies around the evidence, drawn alike in every family but "motion"."""

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._scene import (
    HEIGHT,
    MEAN,
    WIDTH,
    Draws,
    Layer,
    View,
    between,
    whole,
)
from jaxattr.data.evidence._striped import (
    COLD,
    MOTIONS,
    MOVING_DRAWS,
    STILL_DRAWS,
    moving,
    still,
)
from jaxattr.data.evidence._texture import NUM_DRAWS as TEXTURE_DRAWS
from jaxattr.data.evidence._texture import texture

PARTS = ("background", "still", "mover")

_OFTEN = 0.7  # Share of the clips in which a distractor is there.


def surroundings(
    draws: Draws, k_texture: jax.Array, still_at: jax.Array, view: View
) -> tuple[Layer, Layer, Layer]:
    """Background, still and moving distractor.

    Its contrast and the presence of the distractors vary, down to none at all: a clip
    that shows the evidence alone is an ordinary clip, not one never seen in training.
    """
    contrast = jnp.clip(between(draws.one(), -0.2, 1.2), 0.0, 1.0)
    picture = texture(k_texture, draws.take(TEXTURE_DRAWS), view)
    picture = MEAN + contrast * (picture - MEAN)
    everywhere = jnp.ones(picture.shape[:3], jnp.float32)
    background = Layer(everywhere, picture, jnp.ones(picture.shape[0], bool))

    square = still(draws.take(STILL_DRAWS), still_at, view)
    place = jnp.asarray([HEIGHT, WIDTH], jnp.float32) * between(draws.take(2), 0.2, 0.8)
    motion = whole(draws.one(), 0, len(MOTIONS) - 1)
    mover = moving(
        draws.take(MOVING_DRAWS),
        motion,
        place,
        (8, 16),
        COLD,
        view,
        may_be_square=True,
    )
    return (
        background,
        at_times(square, draws.one() < _OFTEN),
        at_times(mover, draws.one() < _OFTEN),
    )


def at_times(layer: Layer, there: jax.Array) -> Layer:
    """The layer, or nothing."""
    return Layer(
        layer.alpha * there.astype(jnp.float32), layer.colour, layer.present & there
    )


def quarters(draws: Draws) -> jax.Array:
    """A place [4, 2] in each quarter of the picture, the quarters in random order."""
    corners = jnp.asarray([[-1, -1], [1, 1], [-1, 1], [1, -1]], jnp.float32)
    order = jnp.argsort(draws.take(4))
    spread = between(draws.take(8).reshape(4, 2), 9.0, 15.0)
    middle = jnp.asarray([[(HEIGHT - 1) / 2, (WIDTH - 1) / 2]], jnp.float32)
    return middle + corners[order] * spread


def drawn_class(draws: Draws, own: jax.Array, num: int) -> jax.Array:
    """`own`, or a class drawn if it is negative."""
    drawn = whole(draws.one(), 0, num - 1)
    return jnp.where(own < 0, drawn, own)
