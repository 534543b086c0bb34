"""What a masking model learns to hide things behind: a random other clip."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._gaussian import blur_frames


def _blur(clip, key, config):
    return blur_frames(clip, config.blur * clip.shape[1] / 224, edge="nearest")


def _colour(clip, key, config):
    colour_key, noise_key = jax.random.split(key)
    limit = config.colour
    colour = jax.random.uniform(
        colour_key, (1, 1, 1, clip.shape[-1]), clip.dtype, -limit, limit
    )
    noise = jax.random.normal(noise_key, clip.shape, clip.dtype)
    return colour + config.colour_noise * noise


def _still(clip, key, config):
    return jnp.broadcast_to(clip.mean(0, keepdims=True), clip.shape)


# Name -> (clip [T, H, W, C], key, config) -> clip of the same shape.
ALTERNATIVES: dict[str, Callable[[jax.Array, jax.Array, Any], jax.Array]] = {
    "blur": _blur,
    "colour": _colour,
    "still": _still,
}


def alternative(
    clip: jax.Array, key: jax.Array, names: Sequence[str], config: Any
) -> jax.Array:
    """One of the alternatives to a clip, all equally likely.

    Args:
      clip: [T, H, W, C], float32 or wider.
      key: decides which, and what it looks like.
      names: which ones there are.
      config: `MaskingConfig`.
    """
    choice_key, look_key = jax.random.split(key)
    made = jnp.stack([ALTERNATIVES[name](clip, look_key, config) for name in names])
    return made[jax.random.randint(choice_key, (), 0, len(names))]
