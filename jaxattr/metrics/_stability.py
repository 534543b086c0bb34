"""Stability: do other keys, or other settings, give the same explanation?"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_count
from jaxattr._score import Network
from jaxattr.metrics._method_metric import Method, attribute, method_metric
from jaxattr.metrics._spearman import unit_ranks


class Stability(NamedTuple):
    """Agreement of R explanations of one prediction.

    Attributes:
      mean: [] mean rank correlation of two of them.
      minimum: [] smallest one.
      correlation: [R, R] all of them; run `m * num_keys + k` is method m with key k.
    """

    mean: jax.Array
    minimum: jax.Array
    correlation: jax.Array


def stability(
    method: Method | tuple[Method, ...], f: Network, *, num_keys: int | None = None
) -> Callable[..., Stability]:
    """Explains again with other keys, or other settings, and correlates the values.

    Over keys, `stability(jaxattr.smooth_grad, f)` tells whether a random method drew
    enough samples. Over settings, `stability((partial(rise, grid=...), ...), f)` tells
    how much of an explanation a choice decides that nobody can justify. A stable
    explanation may still be wrong.

    Args:
      method: transform such as `jaxattr.smooth_grad`, a `functools.partial` of one, or
        a tuple of these whose values have one shape.
      f: network, one clip [T, H, W, C] -> output.
      num_keys: explanations of each method, sample k with `fold_in(key, k)`, the same
        for all methods; None takes 4 for one method and 1 for several.

    Returns:
      `measure(clip, target, *, key) -> Stability`. Higher is better, 1 where all agree
      (as a method that does not draw does with itself), 0 chance. NaN where an
      explanation is constant.

    Raises:
      ValueError: fewer than two explanations; when called, values of different shapes,
        a missing key, a bad target.

    References:
      Our definition; rank correlation over settings as in Bansal, Agarwal and Nguyen,
      "SAM: The Sensitivity of Attribution Methods to Hyperparameters", CVPR 2020,
      https://arxiv.org/abs/2003.08754.
    """
    methods = method if isinstance(method, tuple) else (method,)
    if num_keys is None:
        num_keys = 4 if len(methods) == 1 else 1
    check_count("num_keys", num_keys)
    if len(methods) * num_keys < 2:
        raise ValueError(
            "`num_keys` times the number of methods must be at least 2: there is "
            "nothing to compare."
        )
    return method_metric(_stability, methods, f, num_keys=num_keys)


def _stability(methods, f, clip, target, *, key, num_keys):
    samples = jnp.arange(num_keys, dtype=jnp.int32)

    def ranked(explain):
        def sample(index):
            sample_key = jax.random.fold_in(key, index)
            return unit_ranks(attribute(explain, clip, target, sample_key))

        return jax.lax.map(sample, samples)

    ranks = [ranked(method(f)) for method in methods]
    if len({(r.shape, r.dtype) for r in ranks}) > 1:
        raise ValueError(
            "`method` must be methods whose values have one shape and dtype, got "
            f"{[r.shape[1] for r in ranks]} values of {[str(r.dtype) for r in ranks]}."
        )
    ranks = jnp.concatenate(ranks)
    correlation = ranks @ ranks.T
    first, second = jnp.triu_indices(len(ranks), 1)
    pairs = correlation[first, second]
    return Stability(pairs.mean(), pairs.min(), correlation)
