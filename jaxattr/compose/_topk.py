"""The classes that a network holds for most probable, each explained."""

from typing import Any, NamedTuple

import jax

from jaxattr._clip import wide
from jaxattr._expectation import check_count
from jaxattr._score import num_classes
from jaxattr.compose._composition import Composition, Method, composed
from jaxattr.program import trace


class TopK(NamedTuple):
    """Explanations of several classes, the most probable first.

    Attributes:
      values: [k, ...] those of the results.
      targets: [k] classes.
      probabilities: [k] by soft-max over all classes.
      results: what the method returns, every array with a leading axis [k]; that of
        class i, to be drawn or scored, is `jax.tree.map(lambda x: x[i], results)`.
    """

    values: Any
    targets: jax.Array
    probabilities: jax.Array
    results: Any


def topk(method: Method, k: int = 5) -> Method:
    """Explains the k most probable classes of a clip side by side.

    One forward pass tells the classes; the explanations are mapped over them, so that
    whatever does not depend on the class is computed once, where XLA sees it. A random
    method has the same key for every class, and hence the same masks or noise.

    Args:
      method: transform such as `jaxattr.saliency`, or a `functools.partial` of one.
      k: how many classes.

    Returns:
      A method: `topk(method, k)(f, **settings)` with the settings of `method` gives
      `explain(clip, *, key=None) -> TopK`.

    Raises:
      ValueError: `k < 1`; from `explain`, a network of fewer classes, or one that does
        not return logits [K].
      TypeError: `method` is not callable; from `explain`, a target, which nobody needs,
        or a method that does not take one class, such as `contrast`'s.
    """
    check_count("k", k)
    return composed(_TOPK, method, k=k)


def _check(bound, clip, target, *, key, inputs, k):
    if target is not None:
        raise TypeError(
            f"`target` must be left out: topk finds its own, got {target!r}."
        )
    try:
        return bound.explain()(clip, 0, key=key, **inputs)
    except TypeError as error:
        raise TypeError(f"topk asks its `method` about one class: {error}") from error


def _topk(bound, clip, target, *, key, inputs, k):
    logits = trace(bound.f, clip)(clip)
    count = num_classes(logits, "logit")
    if k > count:
        raise ValueError(
            f"`k` must be at most {count}, the number of classes, got {k}."
        )
    explain = bound.explain()
    probabilities = jax.nn.softmax(logits.astype(wide(logits.dtype)))
    top, targets = jax.lax.top_k(probabilities, k)
    results = jax.vmap(lambda each: explain(clip, each, key=key, **inputs))(targets)
    return TopK(results.values, targets, top, results)


_TOPK = Composition(_topk, _check)
