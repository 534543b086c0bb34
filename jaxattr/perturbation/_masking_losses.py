"""What a mask of a masking model costs: its size, roughness, and what it shows."""

import jax
import jax.numpy as jnp


def area_cost(mask: jax.Array, exponent: float, floor: float) -> jax.Array:
    """Mean of (mask + floor) ** exponent, []."""
    return ((mask + floor) ** exponent).mean()


def smoothness(mask: jax.Array, border: float) -> jax.Array:
    r"""How rough a mask is, and how much of it lies on the border of its frames.

    :math:`\frac{1}{2T} (\sum \partial_t^2 + \sum \partial_y^2 + \sum \partial_x^2 + b
    \sum_{border} m^2)`: the border is that of each frame, where corners count twice;
    the first and the last frame are none. Sums over a frame, a mean over frames.

    Args:
      mask: [T, H, W].
      border: :math:`b`.

    Returns:
      [].
    """
    total = sum((jnp.diff(mask, axis=axis) ** 2).sum() for axis in range(3))
    edges = (mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1])
    total = total + border * sum((edge**2).sum() for edge in edges)
    return total / (2 * len(mask))


def keep_cost(logits: jax.Array, target: jax.Array, margin: float) -> jax.Array:
    """What is missing until the target leads all other classes by a margin, []."""
    return jnp.maximum(0, margin - _lead(logits, target))


def lose_cost(logits: jax.Array, target: jax.Array, margin: float) -> jax.Array:
    """What is missing until another class leads the target by a margin, []."""
    return jnp.maximum(0, margin + _lead(logits, target))


def existence_cost(evidence: jax.Array, exists: jax.Array) -> jax.Array:
    """Cross-entropy, in nats, of the logit `evidence` [] that a class is there."""
    return jax.nn.softplus(jnp.where(exists, -evidence, evidence))


def _lead(logits, target):
    here = jnp.arange(logits.size, dtype=target.dtype) == target
    own = jnp.where(here, logits, 0).sum()
    return own - jnp.where(here, -jnp.inf, logits).max()
