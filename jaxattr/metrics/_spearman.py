"""Spearman's correlation of two maps, traced."""

import jax
import jax.numpy as jnp


def spearman(a: jax.Array, b: jax.Array) -> jax.Array:
    """Pearson correlation of the ranks of two arrays of one shape, [].

    Equal values share their mean rank. NaN where an array is constant or holds NaN.
    """
    return (unit_ranks(a) * unit_ranks(b)).sum()


def unit_ranks(values: jax.Array) -> jax.Array:
    """Centred ranks of all elements as a vector of length 1, [N].

    The product of two of them is the rank correlation of their arrays.
    """
    flat = values.ravel()
    position = jnp.arange(flat.size, dtype=jnp.int32)
    ordered, index = jax.lax.sort((flat, position), num_keys=1)
    change = ordered[1:] != ordered[:-1]
    first, last = jnp.append(True, change), jnp.append(change, True)
    start = jax.lax.cummax(jnp.where(first, position, 0))
    end = jax.lax.cummin(jnp.where(last, position, flat.size), reverse=True)
    twice = (start + end - (flat.size - 1)).astype(flat.dtype)
    ranks = jnp.zeros_like(flat).at[index].set(twice / flat.size, unique_indices=True)
    ranks = ranks / jnp.sqrt((ranks**2).sum())  # 0 / 0 for a constant.
    return jnp.where(jnp.isnan(flat).any(), jnp.nan, ranks)
