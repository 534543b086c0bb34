"""The network with connections of one attention map cut."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._score import Network
from jaxattr._tap import unknown
from jaxattr.attention._tokens import NO_MAPS
from jaxattr.program import ATTENTION, is_attention, trace, unnamed, with_attention


def knock_out(
    f: Network, tap: str, edges: Any, *, renormalise: bool = True
) -> Callable[[Any], Any]:
    """Returns the network in which no information flows along some attention edges.

    The score of the clip before and after says what the edges carried; any method
    explains the network that is left, as it explains any other.

    Args:
      f: network, one clip -> output, with attention spelled out.
      tap: name of an attention map, such as "attention_map#3", as
        `jaxattr.list_taps(f, clip)` shows them with their shapes
        [..., heads, queries, keys].
      edges: true where to cut; broadcasts to the map, as [queries, keys] does.
      renormalise: let the other keys of a query share what is cut, as a score of minus
        infinity before the soft-max does. A query without any keys left gets nothing.

    Returns:
      `network(clip) -> output`, a `jax.tree_util.Partial` with the arrays of `f` as
      leaves. With nothing cut its output is that of `f`.

    Raises:
      TypeError: `edges` is not boolean, or `f` is not callable.
      ValueError: from the call, no such attention map (the nearest names and all are
        shown), or edges that do not broadcast to it.

    References:
      Geva et al., "Dissecting Recall of Factual Associations", EMNLP 2023,
      https://arxiv.org/abs/2304.14767.
    """
    if not callable(f):
        raise TypeError(f"`f` must be a callable network, got {type(f).__name__}.")
    edges = jnp.asarray(edges)
    if edges.dtype != bool:
        raise TypeError(
            "`edges` must be boolean and broadcast to the map, such as [queries, keys] "
            f"with True where a connection is cut, got {edges.dtype} {edges.shape}."
        )
    cut = _cut_and_renormalised if renormalise else _cut
    return jax.tree_util.Partial(_KnockOut(tap, cut), f, edges)


class _KnockOut:
    """The static half."""

    def __init__(self, tap, cut):
        self.tap, self.cut = tap, cut

    def __eq__(self, other):
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self):
        return hash((self.tap, self.cut))

    def __call__(self, f, edges, clip):
        network = with_attention(trace(f, clip))
        taps = jax.eval_shape(lambda clip: network.tapped(clip)[1], clip)
        maps = list(filter(is_attention, taps))
        if not maps:
            raise ValueError(NO_MAPS)
        if self.tap not in maps:
            raise unknown("tap", self.tap, maps, "is not an attention map of `f`")
        shape = taps[self.tap].shape
        try:
            edges = jnp.broadcast_to(edges, shape)
        except ValueError:
            raise ValueError(
                f"`edges` must broadcast to {self.tap!r} of shape {shape}, got "
                f"{edges.shape}."
            ) from None
        # Maps lose their names: what is left may be looked at, and cut, like any other.
        put = {self.tap: edges}
        return network.tapped(clip, put, unnamed(ATTENTION), put=self.cut)[0]


def _cut(a, edges):
    return _select(edges, jnp.zeros_like(a), a)


def _cut_and_renormalised(a, edges):
    """Written as a soft-max, so that it is known as one."""
    none_left = edges.all(-1, keepdims=True)
    logits = jnp.log(jnp.maximum(a, jnp.finfo(a.dtype).tiny))
    logits = _select(edges & ~none_left, jnp.full_like(a, -jnp.inf), logits)
    share = _cut(jax.nn.softmax(logits), none_left)
    return _select(edges.any(-1, keepdims=True), share, a)


def _select(where, a, b):
    # Not jnp.where: all calls of that are one program, of which one part is named.
    return jax.lax.select(jnp.broadcast_to(where, a.shape), a, b)
