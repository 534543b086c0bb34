"""Structural similarity of two heat maps, frame by frame."""

import jax

_C1, _C2 = 0.01**2, 0.03**2  # For values in 0..1, as published.


def ssim(a: jax.Array, b: jax.Array, *, window: int = 5) -> jax.Array:
    """Mean structural similarity of the frames of two maps in 0..1, [].

    Biased moments over a square window, at the places where it fits. 1: the same map.

    Args:
      a: [T, H, W] in 0..1.
      b: likewise.
      window: side of the window; frames that are smaller are one window.

    References:
      Wang et al., "Image Quality Assessment", IEEE TIP 2004; a uniform window.
    """
    size = (1, *(min(window, n) for n in a.shape[1:]))

    def mean(x):
        total = jax.lax.reduce_window(x, 0.0, jax.lax.add, size, (1, 1, 1), "VALID")
        return total / (size[1] * size[2])

    mean_a, mean_b = mean(a), mean(b)
    spread = mean(a**2) - mean_a**2 + mean(b**2) - mean_b**2
    shared = mean(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (light * (2 * shared + _C2) / (spread + _C2)).mean()
