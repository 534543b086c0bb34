"""Integrated gradients: attribute a score along a straight path from a baseline."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr._clip import check_filling, filled, narrow, total, widen
from jaxattr._expectation import check_chunk, check_count, mean
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind


class PathAttribution(NamedTuple):
    """Attribution along a path, and how far it is from being complete.

    Attributes:
      values: like the clip, [T, H, W, C], signed, in units of the score.
      residual: [] change in score along the path that `values` fails to account for.
    """

    values: Any
    residual: jax.Array


def integrated_gradients(
    f: Network,
    *,
    baseline: Any = 0.0,
    num_steps: int = 64,
    score: Score = "logit",
    chunk: int | None = None,
) -> Callable[..., PathAttribution]:
    r"""Attributes the score of a clip to its voxels, along a path from a baseline.

    With score :math:`s`, clip :math:`x` and baseline :math:`b`, element :math:`i` gets
    :math:`(x_i - b_i) \int_0^1 \partial_i s(b + \alpha (x - b)) \, d\alpha`. The
    midpoint rule used here is exact when :math:`s` is quadratic along the path.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K].
      baseline: number, [C], [T, H, W, C] or a pytree like the clip, in the clip's
        units. 0 is the mean colour; the video study uses black, `(0 - mean) / std`.
      num_steps: gradient evaluations; time grows with it, memory does not.
      score: what to explain; see `jaxattr.Score`.
      chunk: gradients computed side by side; changes memory, never the result.

    Returns:
      `explain(clip, target) -> PathAttribution`, to be composed with `jit` and `vmap`.

    Raises:
      ValueError: `num_steps < 1`; from `explain`, a baseline that does not fit.
      TypeError: a baseline of text; from `explain`, a clip that is not floating
        point.

    References:
      Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
      https://arxiv.org/abs/1703.01365, section 3. Deviation: section 5 evaluates at
      k / num_steps; midpoints give error O(num_steps**-2) on a smooth score.
      Verified.
    """
    check_count("num_steps", num_steps)
    check_chunk(chunk)
    check_filling(baseline, "baseline")
    return explainer(
        path_attribution, f, baseline, num_steps=num_steps, score=score, chunk=chunk
    )


def path_attribution(f, clip, target, baseline, *, num_steps, score, chunk):
    """The attribution of a traced network, for methods made of it."""
    s = bind(f, clip, target, score)
    start = filled(baseline, clip, "baseline")
    path = jax.tree.map(lambda x, b: x - b, widen(clip), start)

    def gradient(step):
        at = (step.astype(float) + 0.5) / num_steps
        point = jax.tree.map(lambda b, d: b + at.astype(d.dtype) * d, start, path)
        return widen(jax.grad(s)(narrow(point, clip)))

    average = mean(gradient, num_steps, chunk=chunk)
    values = jax.tree.map(lambda d, g: d * g, path, average)
    change = s(clip) - s(narrow(start, clip))
    return PathAttribution(values, change - total(values).astype(change.dtype))
