"""SmoothGrad: statistics of the gradient in a noisy neighbourhood of the clip."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import explainer
from jaxattr._noise import SampledAttribution, check_noise, under_noise
from jaxattr._score import Network, Score, bind

Kind = Literal["mean", "squared", "variance"]


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
      Verified.
    """
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {kind!r}.")
    if kind == "variance" and num_samples < 2:
        raise ValueError("`num_samples` must be at least 2 for the variance, got 1.")
    check_noise(noise)
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

    def gradient(noisy, key):
        gradient = widen(jax.grad(s)(noisy))
        return jax.tree.map(jnp.square, gradient) if kind == "squared" else gradient

    result = under_noise(
        gradient, clip, noise, key=key, num_samples=num_samples, chunk=chunk
    )
    if kind == "variance":
        unknown = jax.tree.map(lambda v: jnp.full_like(v, jnp.nan), result.variance)
        return SampledAttribution(result.variance, unknown)
    return SampledAttribution(result.mean, result.standard_error)
