"""Expected gradients: integrated gradients averaged over baselines from data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, total, widen
from jaxattr._expectation import check_chunk, check_count, mean, moments
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind


class ExpectedAttribution(NamedTuple):
    """A sampled path attribution, its completeness and its precision.

    Attributes:
      values: like the clip, [T, H, W, C], signed, in units of the score.
      residual: [] s(clip) - mean s(baselines used) - sum of values; 0 in expectation
        when every baseline is used equally often.
      standard_error: like the clip, of `values` over the samples, as if they were
        independent: an upper bound.
    """

    values: Any
    residual: jax.Array
    standard_error: Any


def expected_gradients(
    f: Network,
    *,
    baselines: Any,
    num_samples: int = 64,
    score: Score = "logit",
    chunk: int | None = None,
) -> Callable[..., ExpectedAttribution]:
    r"""Attributes the score against real clips instead of one artificial baseline.

    Element :math:`i` gets :math:`E[(x_i - b_i) \, \partial_i s(b + \alpha (x - b))]`
    over baselines :math:`b` and :math:`\alpha \sim U(0, 1)`. Baselines are taken in
    turn, in random order, and :math:`\alpha` is stratified within the samples of each,
    which keeps the expectation and lowers its variance.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K].
      baselines: [N, T, H, W, C] clips (or a pytree of them), in the clip's units.
      num_samples: gradient evaluations; time grows with it, memory does not.
      score: what to explain; see `jaxattr.Score`.
      chunk: gradients computed side by side; changes memory, never the result.

    Returns:
      `explain(clip, target, *, key) -> ExpectedAttribution`.

    Raises:
      ValueError: `num_samples < 1`; from `explain`, baselines that do not fit, no key.

    References:
      Erion et al., "Improving performance of deep learning models with axiomatic
      attribution priors and expected gradients", Nature Machine Intelligence 2021,
      https://arxiv.org/abs/1906.10670, section 2. Deviation: stratified sampling.
      Verified.
    """
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    return explainer(
        _attribute,
        f,
        baselines,
        random=True,
        num_samples=num_samples,
        score=score,
        chunk=chunk,
    )


def _attribute(f, clip, target, baselines, *, key, num_samples, score, chunk):
    s = bind(f, clip, target, score)
    wide = widen(clip)
    count = _check(baselines, clip)
    pick_key, level_key = jax.random.split(key)
    picks = jax.random.permutation(pick_key, count)

    def baseline(index):
        pick = picks[index % count]
        return jax.tree.map(lambda b, x: b[pick].astype(x.dtype), baselines, wide)

    def sample(index):
        start = baseline(index)
        jitter = jax.random.uniform(jax.random.fold_in(level_key, index))
        # Each baseline's samples are spread evenly over the levels of its path.
        visits = (num_samples - 1 - index % count) // count + 1
        at = ((index // count).astype(float) + jitter) / visits.astype(float)
        path = jax.tree.map(lambda x, b: x - b, wide, start)
        point = jax.tree.map(lambda b, d: b + at.astype(d.dtype) * d, start, path)
        gradient = widen(jax.grad(s)(narrow(point, clip)))
        return jax.tree.map(lambda d, g: d * g, path, gradient)

    result = moments(sample, num_samples, chunk=chunk)
    used = min(count, num_samples)
    ends = mean(lambda i: s(narrow(baseline(i), clip)), used, chunk=chunk)
    residual = s(clip) - ends - total(result.mean).astype(ends.dtype)
    return ExpectedAttribution(result.mean, residual, result.standard_error)


def _check(baselines, clip):
    fits = jax.tree.structure(baselines) == jax.tree.structure(clip) and all(
        b.ndim == x.ndim + 1 and b.shape[1:] == x.shape and b.shape[0] > 0
        for b, x in zip(jax.tree.leaves(baselines), jax.tree.leaves(clip), strict=True)
    )
    if not fits:
        raise ValueError(
            "`baselines` must hold clips along a leading axis, [N, T, H, W, C] with "
            f"N >= 1, got {jax.tree.map(jnp.shape, baselines)} for a clip of "
            f"{jax.tree.map(jnp.shape, clip)}."
        )
    return jax.tree.leaves(baselines)[0].shape[0]
