"""SmoothGrad: statistics of the gradient in a noisy neighbourhood of the clip."""

import numbers
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, widen
from jaxattr._expectation import check_chunk, check_count, moments
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind

Kind = Literal["mean", "squared", "variance"]


class SampledAttribution(NamedTuple):
    """A statistic of sampled gradients, and how well the samples determine it.

    Attributes:
      values: like the clip, [T, H, W, C]; signed for a mean, else non-negative.
      standard_error: like the clip, of `values` over the samples; NaN where one sample
        cannot tell (and for the variance, of which it is not computed).
    """

    values: Any
    standard_error: Any


def smooth_grad(
    f: Network,
    *,
    num_samples: int = 25,
    noise: float = 0.15,
    kind: Kind = "mean",
    score: Score = "logit",
    chunk: int | None = None,
) -> Callable[..., SampledAttribution]:
    r"""Averages the gradient over clips with Gaussian noise added.

    With :math:`g_k = \nabla s(x + \epsilon_k)`, :math:`\epsilon_k \sim N(0, \sigma^2)`
    and :math:`\sigma` = `noise` * (max x - min x) over the whole clip: "mean" is the
    mean of :math:`g_k`, "squared" that of :math:`g_k^2`, "variance" their unbiased
    variance (VarGrad).

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K].
      num_samples: noisy clips; time grows with it, memory does not.
      noise: standard deviation as a fraction of each array's range.
      kind: "mean", "squared" or "variance".
      score: what to explain; see `jaxattr.Score`.
      chunk: gradients computed side by side; changes memory, never the result.

    Returns:
      `explain(clip, target, *, key) -> SampledAttribution`.

    Raises:
      ValueError: `num_samples < 1` (2 for the variance), negative noise, unknown kind;
        from `explain`, a missing key.

    References:
      Smilkov et al., "SmoothGrad", 2017, https://arxiv.org/abs/1706.03825, section 3;
      squared: Hooker et al., NeurIPS 2019; variance: Adebayo et al., NeurIPS 2018.
    """
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {kind!r}.")
    if kind == "variance" and num_samples < 2:
        raise ValueError("`num_samples` must be at least 2 for the variance, got 1.")
    if not (isinstance(noise, numbers.Real) and noise >= 0):
        raise ValueError(f"`noise` must be a fraction of at least 0, got {noise!r}.")
    return explainer(
        _attribute,
        f,
        noise,
        random=True,
        num_samples=num_samples,
        kind=kind,
        score=score,
        chunk=chunk,
    )


def _attribute(f, clip, target, noise, *, key, num_samples, kind, score, chunk):
    s = bind(f, clip, target, score)
    wide = widen(clip)

    def sample(index):
        noisy = _add_noise(jax.random.fold_in(key, index), wide, noise)
        gradient = widen(jax.grad(s)(narrow(noisy, clip)))
        return jax.tree.map(jnp.square, gradient) if kind == "squared" else gradient

    result = moments(sample, num_samples, chunk=chunk)
    if kind == "variance":
        unknown = jax.tree.map(lambda v: jnp.full_like(v, jnp.nan), result.variance)
        return SampledAttribution(result.variance, unknown)
    return SampledAttribution(result.mean, result.standard_error)


def _add_noise(key, clip, noise):
    leaves, tree = jax.tree.flatten(clip)

    def add(index, x):
        sigma = noise.astype(x.dtype) * (x.max() - x.min())
        part = jax.random.fold_in(key, index)
        return x + sigma * jax.random.normal(part, x.shape, x.dtype)

    return jax.tree.unflatten(tree, [add(i, x) for i, x in enumerate(leaves)])
