"""Reverse in time: frames swapped within every run that a mask covers."""

import jax
import jax.numpy as jnp

ON = 0.1  # As published: what counts as part of a run.


def reverse(clip: jax.Array, mask: jax.Array) -> jax.Array:
    """Plays every run of masked frames backward.

    Mirrored frames of a run are exchanged to the degree that the mask of the earlier
    one says, both; the middle of an odd run stays. Which frames form a run is not
    differentiable, so this is for evaluation.

    Args:
      clip: [T, H, W, C].
      mask: [T], 0 to 1; a run is a maximal range of frames above 0.1.

    Returns:
      [T, H, W, C].

    References:
      Mänttäri, Broomé, Folkesson and Kjellström, "Interpreting Video Features: A
      Comparison of 3D Convolutional Networks and Convolutional LSTM Networks", ACCV
      2020, https://arxiv.org/abs/2002.00367. From code.
    """
    num = mask.shape[0]
    frame = jnp.arange(num, dtype=jnp.int32)
    on = mask > ON
    first = jax.lax.cummax(jnp.where(on, -1, frame)) + 1
    last = jax.lax.cummin(jnp.where(on, num, frame), reverse=True) - 1
    mirror = jnp.where(on, first + last - frame, frame)
    share = mask[jnp.minimum(frame, mirror)]
    share = jnp.where(mirror == frame, 0, share)[:, None, None, None]
    return (1 - share) * clip + share * clip[mirror]
