"""What a masking model learns to hide things behind: a random other clip."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._gaussian import blur_frames
from jaxattr._substitute import fill_in, noise_like
from jaxattr.perturbation._operators import OPERATORS, Show, towards


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


def _noise(clip, key, config):
    return noise_like(clip, key)


def _zeros(clip, key, config):
    return jnp.zeros_like(clip)


def _substitute(name, clip, key, config):
    return fill_in(name, None, clip)


# Name -> (clip [T, H, W, C], key, config) -> clip of the same shape. "freeze" is none:
# what it shows depends on the mask.
_CLIPS: dict[str, Callable[[jax.Array, jax.Array, Any], jax.Array]] = {
    "blur": _blur,
    "colour": _colour,
    "still": _still,
    "mean": _zeros,
    "fade": _zeros,
    "clip_mean": functools.partial(_substitute, "clip_mean"),
    "median": functools.partial(_substitute, "median"),
    "noise": _noise,
}
ALTERNATIVES = (*_CLIPS, "freeze")


def alternative(
    clip: jax.Array, shown: jax.Array, key: jax.Array, names: Sequence[str], config: Any
) -> Show:
    """Hides a clip behind one of its alternatives, all equally likely.

    Args:
      clip: [T, H, W, C], float32 or wider; the alternatives are made of it.
      shown: of the same shape, where the mask is 1: the clip, or with noise on it.
      key: decides which, and what it looks like.
      names: which ones there are, of `ALTERNATIVES`.
      config: `MaskingConfig`.

    Returns:
      show: mask [T, H, W] -> clip.
    """
    choice_key, look_key = jax.random.split(key)
    chosen = jax.random.randint(choice_key, (), 0, len(names))

    def hide(name):
        if name == "freeze":
            return OPERATORS[name](shown, 0.0)
        return towards(_CLIPS[name](clip, look_key, config), shown)

    shows = [hide(name) for name in names]
    return lambda mask: jnp.stack([show(mask) for show in shows])[chosen]
