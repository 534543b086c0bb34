"""A quantity in a noisy neighbourhood of the clip: mean, variance, standard error."""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr._clip import narrow, widen
from jaxattr._expectation import Moments, moments


class SampledAttribution(NamedTuple):
    """A statistic of sampled attributions, and how well the samples determine it.

    Attributes:
      values: of one attribution's shape; for `smooth_grad` like the clip,
        [T, H, W, C]: signed for a mean, else non-negative.
      standard_error: likewise, of `values` over the samples; NaN where one sample
        cannot tell (and for a variance, of which it is not computed).
    """

    values: Any
    standard_error: Any


def check_noise(noise: float) -> None:
    """Raises ValueError unless `noise` is a number of at least 0."""
    if not (isinstance(noise, numbers.Real) and noise >= 0):
        raise ValueError(f"`noise` must be a fraction of at least 0, got {noise!r}.")


def under_noise(
    g: Callable[[Any, jax.Array], Any],
    clip: Any,
    noise: jax.Array,
    *,
    key: jax.Array,
    num_samples: int,
    chunk: int | None,
) -> Moments:
    """Moments of `g` over clips with Gaussian noise added.

    Args:
      g: noisy clip, key of its own -> pytree of arrays.
      clip: one array or a pytree.
      noise: [] standard deviation as a fraction of each array's range.
      key: typed key.
      num_samples: noisy clips.
      chunk: side by side.
    """
    wide = widen(clip)

    def sample(index):
        part = jax.random.fold_in(key, index)
        noisy = narrow(_add_noise(part, wide, noise), clip)
        return widen(g(noisy, jax.random.fold_in(part, len(jax.tree.leaves(clip)))))

    return moments(sample, num_samples, chunk=chunk)


def _add_noise(key, clip, noise):
    leaves, tree = jax.tree.flatten(clip)

    def add(index, x):
        sigma = noise.astype(x.dtype) * (x.max() - x.min())
        part = jax.random.fold_in(key, index)
        return x + sigma * jax.random.normal(part, x.shape, x.dtype)

    return jax.tree.unflatten(tree, [add(i, x) for i, x in enumerate(leaves)])
