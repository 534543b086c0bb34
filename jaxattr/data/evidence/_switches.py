"""Which parts of a clip are shown: the interventions of the benchmark."""

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._families import check_parts, find
from jaxattr.data.evidence._scene import NUM_FRAMES


def without(
    family: str, *parts: str, frames: tuple[int, int] = (0, NUM_FRAMES)
) -> jax.Array:
    """Switches for `render(show=...)` that take parts out of some frames.

    Args:
      family: name of the family.
      parts: names of its parts.
      frames: the first frame without them, and the first with them again.

    Returns:
      [P, T] bool, False for the parts in those frames, in the order of the family's
      `parts`. Switches combine with `&`.

    Raises:
      ValueError: if there is no such family or part, or no such frames.
    """
    found = find(family)
    check_parts(found, parts, "parts")
    start, stop = frames
    if not 0 <= start < stop <= NUM_FRAMES:
        raise ValueError(
            f"`frames` must be (start, stop) with 0 <= start < stop <= {NUM_FRAMES}, "
            f"got {frames}."
        )
    chosen = jnp.asarray([part in parts for part in found.parts])
    times = jnp.arange(NUM_FRAMES)
    inside = (times >= start) & (times < stop)
    return ~(chosen[:, None] & inside[None])


def evidence_only(family: str) -> jax.Array:
    """Switches for `render(show=...)`: the evidence, on grey, and nothing else.

    Args:
      family: name of the family.

    Returns:
      [P, T] bool, in the order of the family's `parts`.

    Raises:
      ValueError: if there is no such family.
    """
    found = find(family)
    others = [part for part in found.parts if part not in found.evidence]
    return without(family, *others)
