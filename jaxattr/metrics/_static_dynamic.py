"""Splits a heat map into what stills explain, and what only their succession does."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_chunk, each
from jaxattr._score import Network
from jaxattr.metrics._method_metric import Method, attribute, method_metric


class StaticDynamic(NamedTuple):
    """An attribution, as a sum of two.

    Attributes:
      values: what the method says of the clip, [T, H, W, C] or [T, H, W].
      static: likewise, what survives freezing.
      dynamic: likewise, `values - static`.
      dynamic_share: [] sum of |dynamic| over that of |dynamic| + |static|, 0 to 1; NaN
        where both are 0.
    """

    values: jax.Array
    static: jax.Array
    dynamic: jax.Array
    dynamic_share: jax.Array


def static_dynamic_split(
    method: Method, f: Network, *, chunk: int | None = None
) -> Callable[..., StaticDynamic]:
    r"""Splits what a method says into a part that survives freezing, and the rest.

    With :math:`x^{(t)}` the clip that stands still at frame t, and :math:`\phi` the
    method, frame t of the static part is the mean over time of the still's map,
    :math:`\frac{1}{T} \sum_\tau \phi_\tau(x^{(t)})`, and the dynamic part is
    :math:`\phi_t(x)` less that. It follows for gradients, integrated gradients and
    whatever else is linear in the gradient that

    - a network which averages what it sees in single frames has no dynamic part, and
      one which sees only differences between frames no static part;
    - of :math:`\sum_t a_t h(x_t)`, which weighs frames by when they come, the static
      part has the mean weight and the dynamic part :math:`a_t - \bar a`;
    - if the method is complete, the static part sums to the mean score of the stills
      and the dynamic part to the score of the clip less that, both over the baseline.

    Maps of positive values, such as masks and CAMs, are split by the same formula;
    there a negative dynamic part is what stills would need and the clip does not.

    Neither part is better. `dynamic_share` is 0 for the first of these networks and 1
    for the second. Other networks respond to what they look for in stills as well, only
    without a net effect: absolute values of both parts lie on the same objects. To see
    which part carries the evidence compare signed values, by their sums or as
    `to_heatmap(part, channels="sum")`, of a method that is complete.

    Args:
      method: transform such as `jaxattr.integrated_gradients`, or a
        `functools.partial` of one, whose `values` have a frame for each of the clip's.
      f: network, one clip [T, H, W, C] -> output.
      chunk: stills explained side by side; changes memory, never the result.

    Returns:
      `split(clip, target, *, key=None) -> StaticDynamic`, to be composed with `jit` and
      `vmap`; T + 1 explanations, all with the same key where the method is random.

    Raises:
      ValueError: `chunk < 1`; when called, values with another number of frames, a
        missing key, a bad target.

    References:
      Our definition.
    """
    check_chunk(chunk)
    return method_metric(_split, method, f, random=False, chunk=chunk)


def _split(method, f, clip, target, *, key, chunk):
    explain = method(f)
    values = attribute(explain, clip, target, key)
    if values.shape[:1] != clip.shape[:1]:
        raise ValueError(
            f"`method` must give values with the clip's {clip.shape[0]} frames, got "
            f"shape {values.shape}; resize maps of a layer."
        )

    def still(t):
        frozen = jnp.broadcast_to(clip[t], clip.shape)
        return attribute(explain, frozen, target, key).mean(0)

    static = each(still, len(clip), chunk=chunk)
    dynamic = values - static
    sizes = jnp.abs(static).sum(), jnp.abs(dynamic).sum()
    return StaticDynamic(values, static, dynamic, sizes[1] / (sizes[0] + sizes[1]))
