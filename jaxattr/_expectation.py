"""The mean of many samples, a chunk at a time, in memory that does not grow."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import wide, widen


class Moments(NamedTuple):
    """First two moments of a sample.

    Attributes:
      mean: pytree like one sample.
      variance: likewise, unbiased; NaN from a single sample.
      standard_error: likewise, of the mean: sqrt(variance / num).
    """

    mean: Any
    variance: Any
    standard_error: Any


def mean(g: Callable[[jax.Array], Any], num: int, *, chunk: int | None = None) -> Any:
    """Averages `g(i)` over i = 0..num-1.

    Args:
      g: sample index [] int32 -> pytree of floating-point arrays.
      num: number of samples.
      chunk: samples computed side by side; None takes one on a CPU and eight
        elsewhere. It changes memory and rounding, nothing else.

    Returns:
      Pytree like one sample, in float32 or wider.
    """

    def add(total, samples, weights, _):
        return jax.tree.map(lambda t, s: t + masked_sum(s, weights), total, samples)

    total = _scan(g, num, chunk, add, lambda zero: zero)
    return jax.tree.map(lambda t: t / num, total)


def moments(
    g: Callable[[jax.Array], Any], num: int, *, chunk: int | None = None
) -> Moments:
    """Mean, variance and standard error of `g(i)`; arguments as in `mean`.

    Chunks are merged by the update of Chan, Golub and LeVeque (1979), which does not
    cancel when the mean is large against the spread.
    """

    def merge(state, samples, weights, seen):
        size = weights.sum()

        def leaf(average, squares, sample):
            count, share = seen.astype(sample.dtype), size.astype(sample.dtype)
            here = masked_sum(sample, weights) / share
            spread = masked_sum((sample - here[None]) ** 2, weights)
            delta = here - average
            total = count + share
            return (
                average + delta * (share / total),
                squares + spread + delta**2 * (count * share / total),
            )

        pairs = jax.tree.map(leaf, *state, samples)
        return jax.tree.transpose(
            jax.tree.structure(samples), jax.tree.structure((0, 0)), pairs
        )

    average, squares = _scan(g, num, chunk, merge, lambda zero: (zero, zero))
    variance = jax.tree.map(
        lambda s: s / (num - 1) if num > 1 else jnp.full_like(s, jnp.nan), squares
    )
    error = jax.tree.map(lambda v: jnp.sqrt(v / num), variance)
    return Moments(average, variance, error)


def each(g: Callable[[jax.Array], Any], num: int, *, chunk: int | None = None) -> Any:
    """Keeps `g(i)` for i = 0..num-1, where `mean` would not do.

    Args:
      g: index [] int32 -> pytree of small arrays.
      num: how many.
      chunk: computed side by side; None takes one on a CPU and eight elsewhere.

    Returns:
      Pytree like `g(i)` with a leading axis [num].
    """
    blocks, size = even_chunks(num, chunk)
    index = jnp.arange(blocks * size, dtype=jnp.int32).clip(0, num - 1)
    if size == 1:
        return jax.lax.map(g, index)
    kept = jax.lax.map(jax.vmap(g), index.reshape(blocks, size))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num], kept)


def check_count(name: str, value: int) -> None:
    """Raises ValueError unless `value` is an integer of at least 1."""
    if not _is_count(value):
        raise ValueError(f"`{name}` must be an integer of at least 1, got {value!r}.")


def check_chunk(chunk: int | None) -> None:
    """Raises ValueError unless `chunk` is None or a positive integer."""
    if chunk is not None and not _is_count(chunk):
        raise ValueError(f"`chunk` must be None or at least 1, got {chunk!r}.")


def even_chunks(num: int, chunk: int | None) -> tuple[int, int]:
    """How many chunks, and of which size, `num` samples take; `chunk` as in `mean`.

    Chunks of even size leave the fewest samples to compute in vain.

    Raises:
      ValueError: unless `chunk` is None or a positive integer.
    """
    check_chunk(chunk)
    if chunk is None:
        chunk = 1 if jax.default_backend() == "cpu" else 8
    blocks = math.ceil(num / min(chunk, num))
    return blocks, math.ceil(num / blocks)


def _is_count(value):
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return integer and value >= 1


def _scan(g, num, chunk, update, init):
    return fold(g, initial(g, init), 0, num, num, chunk, update)


def initial(g: Callable[[jax.Array], Any], init: Callable[[Any], Any]) -> Any:
    """`init` of zeros like a sample, in float32 or wider."""
    sample = jax.eval_shape(g, jax.ShapeDtypeStruct((), jnp.int32))
    return init(jax.tree.map(lambda s: jnp.zeros(s.shape, wide(s.dtype)), sample))


def fold(
    g: Callable[[jax.Array], Any],
    state: Any,
    start: int | jax.Array,
    length: int,
    num: int,
    chunk: int | None,
    update: Callable[..., Any],
) -> Any:
    """Folds samples start..start + length - 1, of which those from `num` on are void.

    Args:
      g: as in `mean`.
      state: what is folded so far.
      start: first sample; may be traced.
      length: how many; static.
      num: end of all samples.
      chunk: as in `mean`.
      update: `update(state, samples, weights, seen)`, with a chunk of samples [n],
        which of them count, and how many came before.
    """
    blocks, size = even_chunks(length, chunk)

    def sample(index):
        out = jax.vmap(g)(index) if size > 1 else jax.tree.map(_lead, g(index[0]))
        return widen(out)

    def body(carry, _):
        state, block = carry
        offset = block * size + jnp.arange(size, dtype=jnp.int32)
        used = (offset < length) & (start + offset < num)
        state = update(state, sample(start + offset), used, start + block * size)
        return (state, block + 1), None

    carry = state, jnp.int32(0)
    if blocks == 1:
        return body(carry, None)[0][0]
    # Nothing is scanned over: an index for every block would be memory that grows.
    return jax.lax.scan(body, carry, length=blocks)[0][0]


def masked_sum(samples: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum over the samples [n, ...] that count, [n] bool."""
    weights = jnp.expand_dims(weights, range(1, samples.ndim))
    return jnp.where(weights, samples, jnp.zeros_like(samples)).sum(0)


def _lead(x):
    return x[None]
