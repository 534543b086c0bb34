"""Mask optimisation: parameters, an objective, an optimiser, a projection, in a loop.

Every method that optimises a mask is a choice of these parts. The objective goes from
the parameters over mask and perturbed clip to a loss; this file only iterates.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

# (parameters, iteration []) -> (loss [], anything worth recording).
Objective = Callable[[Any, jax.Array], tuple[jax.Array, Any]]


class MaskState(NamedTuple):
    """Where an optimisation stands.

    Attributes:
      params: pytree of parameters, after the last update.
      evaluated: the parameters that the last forward pass saw, one update older.
      optimiser: state of the optimiser.
      iteration: [] updates so far.
    """

    params: Any
    evaluated: Any
    optimiser: Any
    iteration: jax.Array


class MaskHistory(NamedTuple):
    """Course of an optimisation, both parts weighted and to be minimised.

    Attributes:
      reward: [num_iterations], such as -log p of the preserved clip.
      regulariser: [num_iterations], such as size and roughness of the mask.
    """

    reward: jax.Array
    regulariser: jax.Array


def init(params: Any, optimiser: optax.GradientTransformation) -> MaskState:
    """Starts at the given parameters."""
    zero = jnp.zeros((), jnp.int32)
    return MaskState(params, params, optimiser.init(params), zero)


def update(
    state: MaskState,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    project: Callable[[Any], Any],
) -> tuple[MaskState, Any]:
    """One iteration: gradient, optimiser, projection.

    A line search gets what it needs: it tries where the projection would put a step.

    Returns:
      The next state, and what the objective recorded.
    """
    slope = jax.value_and_grad(objective, has_aux=True)
    (value, record), gradient = slope(state.params, state.iteration)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes counts with floats.
        step, memory = optax.with_extra_args_support(optimiser).update(
            gradient,
            state.optimiser,
            state.params,
            value=value,
            grad=gradient,
            value_fn=lambda params: objective(project(params), state.iteration)[0],
        )
    params = project(optax.apply_updates(state.params, step))
    return MaskState(params, state.params, memory, state.iteration + 1), record


def optimise(
    objective: Objective,
    params: Any,
    optimiser: optax.GradientTransformation,
    project: Callable[[Any], Any],
    *,
    num_iterations: int,
    tolerance: float | None = None,
    block: int = 10,
) -> tuple[MaskState, Any]:
    """Iterates.

    Args:
      objective: see `Objective`.
      params: where to start.
      optimiser: an optax transformation, learning rate included.
      project: puts parameters back where they are allowed.
      num_iterations: updates.
      tolerance: stop early, once a block of iterations moves the parameters by less
        than this on average; None never does. Under `vmap` all go on until the slowest
        stops.
      block: iterations between two looks at the tolerance.

    Returns:
      The last state, and the records stacked, [num_iterations, ...]; NaN after an
      early stop.

    Raises:
      ValueError: `tolerance` with a `num_iterations` that is no multiple of `block`.
    """

    def body(state, _):
        return update(state, objective, optimiser, project)

    state = init(params, optimiser)
    if tolerance is None:
        return jax.lax.scan(body, state, length=num_iterations)
    if num_iterations % block:
        raise ValueError(
            f"`num_iterations` must be a multiple of {block} for an early stop, got "
            f"{num_iterations}."
        )

    def go_on(carry):
        state, _, moved = carry
        return (state.iteration < num_iterations) & (moved >= tolerance)

    def one_block(carry):
        state, records, _ = carry
        after, new = jax.lax.scan(body, state, length=block)
        records = jax.tree.map(
            lambda r, n: jax.lax.dynamic_update_slice_in_dim(
                r, n, state.iteration, axis=0
            ),
            records,
            new,
        )
        return after, records, _distance(state.params, after.params)

    shapes = jax.eval_shape(body, state, None)[1]
    records = jax.tree.map(
        lambda s: jnp.full((num_iterations, *s.shape), jnp.nan, s.dtype), shapes
    )
    far = jnp.full_like(_distance(params, params), jnp.inf)
    state, records, _ = jax.lax.while_loop(go_on, one_block, (state, records, far))
    return state, records


def _distance(before, after):
    leaves = list(zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    moved = sum(jnp.abs(a - b).sum() for a, b in leaves)
    return moved / sum(a.size for a, _ in leaves)
