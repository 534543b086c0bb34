"""The tokens of a transformer, and how a row of weights goes back to them."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._resize import to_clip
from jaxattr._score import Network
from jaxattr.program import Traced, maps

NO_MAPS = (
    "`f` has no attention map that can be seen: a soft-max over keys, times values. A "
    "fused kernel hides it; take an implementation without."
)


class Grid(NamedTuple):
    """Which tokens there are.

    Attributes:
      shape: (T', H', W').
      class_token: whether one stands before them, which the head reads; else the head
        reads their mean.
    """

    shape: tuple[int, int, int]
    class_token: bool


class Weights(NamedTuple):
    """One number for every token: a row of a product of attention maps.

    Attributes:
      cls: [] of the class token; 0 where there is none.
      grid: [T', H' * W'].
    """

    cls: jax.Array
    grid: jax.Array


class AttentionMap(NamedTuple):
    """How much each token counts.

    Attributes:
      values: [T, H, W], in float32 or wider. All frames of a token share its value.
      cells: [T', H', W'] one number for every token.
      class_token: [] what remains at the class token; 0 where there is none.
    """

    values: jax.Array
    cells: jax.Array
    class_token: jax.Array


def grid_of(f: Network, tokens: Any, class_token: bool | None) -> Grid:
    """The token grid: the given one, or that of `f.spec`.

    Raises:
      ValueError: there is none, or it is not three positive numbers.
    """
    spec = getattr(f, "spec", None)
    tokens = getattr(spec, "tokens", None) if tokens is None else tokens
    if class_token is None:
        class_token = bool(getattr(spec, "class_token", False))
    try:
        shape = tuple(int(n) for n in tokens)
    except TypeError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            "`tokens` must be (T', H', W'), the numbers of tokens in time, height and "
            f"width: `f.spec` has none, got {tokens!r}."
        )
    return Grid(shape, bool(class_token))


def attention_maps(
    taps: dict[str, jax.Array], network: Traced, grid: Grid
) -> list[jax.Array]:
    """All attention maps in order, [P, heads, queries, keys] each.

    P counts positions that attend apart: 1 where all tokens attend to all, H' * W'
    where those of one place attend over time, T' where those of one time attend over
    space.

    Raises:
      ValueError: there is none, or one that is of other tokens.
    """
    found = [taps[name][index] for name, index in maps(network)]
    if not found:
        raise ValueError(NO_MAPS)
    return [_positions(a, grid) for a in found]


def _positions(a, grid):
    times, height, width = grid.shape
    places, cls = height * width, int(grid.class_token)
    *lead, heads, queries, keys = (1, 1, *a.shape)[-max(a.ndim, 3) :]
    count = math.prod(lead)
    allowed = {
        (1, times * places + cls): "all",
        (places, times): "time",
        (times, places + cls): "space",
    }
    if queries != keys or (count, queries) not in allowed:
        raise ValueError(
            f"`f` has an attention map of shape {a.shape}, [..., heads, queries, "
            f"keys], which is not of the tokens {grid.shape}"
            f"{' and a class token' if cls else ''}: all to all, over time at each "
            "place, or over space at each time. Say which there are by `tokens` and "
            "`class_token`."
        )
    if count == queries == times == places:
        raise ValueError(
            f"`f` has an attention map of shape {a.shape}, which may be over time or "
            f"over space: tokens {grid.shape} have as many times as places. Explain a "
            "clip of another length."
        )
    return a.reshape(count, heads, queries, keys)


def start(grid: Grid, dtype: Any) -> Weights:
    """What the head reads: the class token, or the mean of all."""
    times, height, width = grid.shape
    shape = (times, height * width)
    if grid.class_token:
        return Weights(jnp.ones((), dtype), jnp.zeros(shape, dtype))
    share = 1 / (times * height * width)
    return Weights(jnp.zeros((), dtype), jnp.full(shape, share, dtype))


def back(row: Weights, a: jax.Array, *, kept: bool) -> Weights:
    """The row times one matrix between all tokens, which is never formed.

    Args:
      row: of the tokens above.
      a: [P, queries, keys] as `attention_maps` orders them, heads joined.
      kept: whether a class token that takes no part passes its weight on (as the
        identity does), or loses it.
    """
    times, places = row.grid.shape
    count, size, _ = a.shape
    cls = jnp.zeros_like(row.cls)
    if count == 1 and size >= times * places:
        flat = row.grid.ravel()
        if size > flat.size:
            flat = jnp.concatenate([row.cls[None], flat]) @ a[0]
            return Weights(flat[0], flat[1:].reshape(times, places))
        return Weights(cls, (flat @ a[0]).reshape(times, places))
    if count == places and size == times:
        return Weights(row.cls if kept else cls, jnp.einsum("tp,pts->sp", row.grid, a))
    if size == places:
        return Weights(cls, jnp.einsum("tp,tpq->tq", row.grid, a))
    # The class token attends in every frame, and goes on as the mean over frames.
    first = jnp.broadcast_to(row.cls / times, (times, 1))
    below = jnp.einsum("tp,tpq->tq", jnp.concatenate([first, row.grid], 1), a)
    return Weights(below[:, 0].sum(), below[:, 1:])


def row_sums(row: Weights, a: jax.Array) -> Weights:
    """For every token the sum of its row in the matrix of `back`: its transpose, of 1.

    Args:
      row: of the shapes of the tokens.
      a: as for `back`.
    """
    below, pull = jax.vjp(lambda row: back(row, a, kept=False), row)
    return pull(jax.tree.map(jnp.ones_like, below))[0]


def shown(row: Weights, grid: Grid, clip: jax.Array) -> AttentionMap:
    """The row on the clip: nearest in time, linear between the centres in space."""
    cells = row.grid.reshape(grid.shape)
    frames = clip.shape[0]
    nearest = cells[jnp.arange(frames) * grid.shape[0] // frames]
    values = to_clip(nearest, clip.shape[:3], (None, None, None))
    return AttentionMap(values, cells, row.cls)
