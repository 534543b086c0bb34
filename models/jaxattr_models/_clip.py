"""What every port does with a clip's leading axes."""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name


def as_batch(
    clip: jax.Array, dtype: jnp.dtype, channels: int
) -> tuple[jax.Array, tuple[int, ...]]:
    """Returns the clip as `[B, T, H, W, C]` in `dtype`, and its leading axes.

    One batch axis from the start keeps the program free of a reshape around every
    layer; the reshapes at both ends move no data.

    Raises:
      TypeError: if the clip is not of a floating dtype.
      ValueError: if its axes are not `[..., T, H, W, C]` with `channels` channels.
    """
    clip = jnp.asarray(clip)
    if not jnp.issubdtype(clip.dtype, jnp.floating):
        raise TypeError(
            f"`clip` must be floating, as the network's spec prepares it, got "
            f"{clip.dtype}."
        )
    if clip.ndim < 4 or clip.shape[-1] != channels:
        raise ValueError(
            f"`clip` must be [..., T, H, W, {channels}], got shape {clip.shape}."
        )
    return clip.astype(dtype).reshape(-1, *clip.shape[-4:]), clip.shape[:-4]


def tap(x: jax.Array, leading: tuple[int, ...], name: str) -> jax.Array:
    """Names a value `[B, ...]`, seen with the clip's own leading axes in place of B."""
    named = checkpoint_name(x.reshape(*leading, *x.shape[1:]), name)
    return named.reshape(x.shape)
