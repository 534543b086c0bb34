"""What `render` and `batch` are asked for, checked and in one form."""

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._families import NONE, find, labels
from jaxattr.data.evidence._scene import HEIGHT, NUM_FRAMES


def check_settings(
    family, target, show, show_target, show_distractor, camera, none, size
):
    """Returns (family, target, show, camera, none, size), checked.

    As the jitted functions take them: a negative `target` is to be drawn, `show` is
    [P, T] and has all switches in it, and `camera` is None where nothing ever pans.

    Raises:
      ValueError: as `render`.
    """
    found = find(family)
    own = labels(family)
    if target is None:
        target = -1
    elif not isinstance(target, jax.core.Tracer) and target not in (*own, NONE):
        raise ValueError(
            f"`target` must be an integer from {own[0]} to {own[-1]} in family "
            f"{family!r}, or NONE = {NONE}, got {target}."
        )
    for name, share in (("camera", camera), ("none", none)):
        if not isinstance(share, jax.core.Tracer) and not 0 <= share <= 1:
            raise ValueError(f"`{name}` must be a share from 0 to 1, got {share}.")
    if size < HEIGHT // 2:
        raise ValueError(f"`size` must be at least {HEIGHT // 2}, got {size}.")
    parts = len(found.parts)
    show = jnp.ones(parts, bool) if show is None else jnp.asarray(show, bool)
    if show.shape not in ((parts,), (parts, NUM_FRAMES)):
        raise ValueError(
            f"`show` must have shape ({parts},) or ({parts}, {NUM_FRAMES}) for the "
            f"parts {found.parts} of {family!r}, got {show.shape}."
        )
    is_evidence = jnp.asarray(found.is_evidence)
    is_distractor = (~is_evidence).at[0].set(False)
    show = show.reshape(parts, -1) & jnp.ones((1, NUM_FRAMES), bool)
    show = show & (jnp.asarray(show_target, bool) | ~is_evidence)[:, None]
    show = show & (jnp.asarray(show_distractor, bool) | ~is_distractor)[:, None]
    pans = isinstance(camera, jax.core.Tracer) or camera > 0
    return (
        family,
        jnp.asarray(target, jnp.int32),
        show,
        jnp.asarray(camera, jnp.float32) if pans else None,
        jnp.asarray(none, jnp.float32),
        size,
    )
