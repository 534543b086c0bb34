"""ROAD: removal that does not show, so that only missing content lowers the score."""

import numbers
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, widen
from jaxattr._expectation import check_chunk, check_count, each
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr.metrics._inputs import poison
from jaxattr.metrics._units import Order, Unit, Units, check_name, ranking

_SIDE, _CORNER = 1 / 6, 1 / 12  # The paper's weights of the eight neighbours.


class Road(NamedTuple):
    """Scores of clips with voxels removed and imputed.

    Attributes:
      mean: [] of `curve`.
      curve: [n] score with each of `fractions` removed.
      fraction: [n] share of the units that was removed, 0..1: `fractions` in whole
        units, of which at least one stays.
      residual: [n] relative residual of the linear system that imputes; small when
        `num_iterations` sufficed.
      tied: [] share of neighbours in the order with equal heat, 0..1.
    """

    mean: jax.Array
    curve: jax.Array
    fraction: jax.Array
    residual: jax.Array
    tied: jax.Array


def road(
    f: Network,
    *,
    fractions: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    unit: Unit = "voxel",
    order: Order = "most_first",
    noise: float = 0.01,
    temporal: float = _SIDE,
    num_iterations: int = 200,
    tolerance: float = 1e-3,
    score: Score = "prob",
    chunk: int | None = None,
    block: tuple[int, ...] | int | None = None,
) -> Callable[..., Road]:
    r"""Mean score when the hottest voxels are removed and filled in from around them.

    A hole of constant colour tells the network where something was removed; here each
    removed voxel becomes the weighted mean of its neighbours, removed ones included,
    plus noise. That is one sparse linear system: :math:`\sum_q w_{pq} (u_p - u_q) = 0`
    for every removed p, with u known elsewhere, solved by conjugate gradients. The
    neighbours are the eight of the frame (1/6 beside, 1/12 at corners) and the same
    pixel of the frames before and after (`temporal`); outside the clip there are none.

    Direction: lower is better; with order="least_first" higher is better. Range: that
    of the score, 0..1 for "prob". Chance: a random map, to be measured; it is near the
    score of the clip at small fractions, which are easily filled in. Ties in order of
    frame, row and column: a constant map measures that order.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      fractions: shares of the units to remove, above 0 and below 1; the network is
        evaluated once for each.
      unit: what is removed at once; the paper removes pixels. See `insertion`.
      order: "most_first" (MoRF) or "least_first" (LeRF).
      noise: standard deviation added to what is filled in, in the clip's units.
      temporal: weight of either neighbour in time. 0 fills in frame by frame, as for
        images; a frame that is removed whole then becomes 0, the mean colour.
      num_iterations: at most, of conjugate gradients; see `residual`.
      tolerance: relative residual at which they stop.
      score: what is measured; see `jaxattr.Score`.
      chunk: fractions evaluated side by side; changes memory, never the result.
      block: another size of block, (h, w) or (t, h, w) voxels.

    Returns:
      `metric(clip, target, heatmap, *, key) -> Road`, as in `insertion`.

    Raises:
      ValueError: fractions, noise, weights or counts out of range, an unknown name;
        from the call, what `insertion` refuses, a missing key.
      TypeError: as in `insertion`.

    References:
      Rong, Leemann, Borisov, Kasneci and Kasneci, "A Consistent and Efficient
      Evaluation Strategy for Attribution Methods", ICML 2022,
      https://arxiv.org/abs/2202.00449, section 4. Deviations, our reading: neighbours
      in time; one clip's score, where the paper reports a data set's accuracy; the mean
      over fractions; weights at the border are scaled to sum to one.
    """
    fractions = tuple(map(float, fractions))
    if not fractions or not all(0 < a < 1 for a in fractions):
        raise ValueError(
            f"`fractions` must lie above 0 and below 1, got {fractions}: where nothing "
            "is left there is nothing to fill in from."
        )
    check_name("order", order, Order)
    check_count("num_iterations", num_iterations)
    check_chunk(chunk)
    for name, value in (
        ("noise", noise),
        ("temporal", temporal),
        ("tolerance", tolerance),
    ):
        if not (isinstance(value, numbers.Real) and value >= 0):
            raise ValueError(f"`{name}` must be a number of at least 0, got {value!r}.")
    units = Units(unit, block)
    return explainer(
        _measure,
        f,
        fractions,
        float(noise),
        float(temporal),
        random=True,
        single=True,
        inputs=units.inputs,
        units=units,
        order=order,
        num_iterations=num_iterations,
        tolerance=float(tolerance),
        score=score,
        chunk=chunk,
    )


def _measure(
    f,
    clip,
    target,
    fractions,
    noise,
    temporal,
    *,
    key,
    heatmap,
    segments=None,
    units,
    order,
    num_iterations,
    tolerance,
    score,
    chunk,
):
    s = bind(f, clip, target, score)
    ranked = ranking(units.layout(clip.shape[:3], segments), heatmap, order)
    fractions = jnp.stack(fractions)
    count = ranked.count.astype(fractions.dtype)
    # One unit stays at least: from nothing, nothing can be filled in.
    cuts = jnp.minimum(jnp.round(fractions * count), count - 1).astype(jnp.int32)
    wide = widen(clip)
    noise, temporal = noise.astype(wide.dtype), temporal.astype(wide.dtype)

    def state(j):
        gone = (ranked.position < cuts[j])[..., None]
        filled, residual = impute(wide, gone, temporal, num_iterations, tolerance)
        draw = jax.random.normal(jax.random.fold_in(key, j), clip.shape, wide.dtype)
        return s(narrow(jnp.where(gone, filled + noise * draw, wide), clip)), residual

    curve, residual = each(state, cuts.size, chunk=chunk)
    curve = curve * poison(heatmap, curve.dtype)
    removed = cuts.astype(curve.dtype) / count.astype(curve.dtype)
    return Road(curve.mean(), curve, removed, residual, ranked.tied)


def impute(
    clip: jax.Array,
    gone: jax.Array,
    temporal: jax.Array | float,
    num_iterations: int,
    tolerance: float,
) -> tuple[jax.Array, jax.Array]:
    """Fills in the removed voxels of a clip, each a weighted mean of its neighbours.

    Args:
      clip: [T, H, W, C], float32 or wider.
      gone: [T, H, W, 1] bool, what was removed.
      temporal: weight of either neighbour in time.
      num_iterations: at most, of conjugate gradients.
      tolerance: relative residual at which they stop.

    Returns:
      [T, H, W, C], 0 where no known voxel is connected; [] relative residual.
    """
    weight = _neighbours(jnp.ones_like(clip[..., :1]), temporal)

    # Symmetric and positive: the rows of the known voxels are those of the identity.
    def system(u):
        return jnp.where(
            gone, weight * u - _neighbours(jnp.where(gone, u, 0), temporal), u
        )

    right = jnp.where(gone, _neighbours(jnp.where(gone, 0, clip), temporal), 0)
    filled, _ = jax.scipy.sparse.linalg.cg(
        system, right, tol=tolerance, maxiter=num_iterations
    )
    size = jnp.linalg.norm(right.ravel())
    error = jnp.linalg.norm((right - system(filled)).ravel())
    residual = jnp.where(error == 0, 0, error / size)
    return jnp.where(gone, filled, clip), residual


def _neighbours(u, temporal):
    """Weighted sum over the neighbours of every voxel; none lie outside the clip."""
    # The eight weights are those of [1, 2, 1] in both directions, less the middle.
    frame = u
    for axis in (1, 2):
        frame = _beside(frame, axis) + 2 * frame
    return _CORNER * (frame - 4 * u) + temporal * _beside(u, 0)


def _beside(u, axis):
    """Sum of the neighbours before and after along an axis."""
    shape = [1 if a == axis else n for a, n in enumerate(u.shape)]
    none = jnp.zeros(shape, u.dtype)
    size = u.shape[axis]
    ahead = jax.lax.slice_in_dim(u, 1, size, axis=axis)
    behind = jax.lax.slice_in_dim(u, 0, size - 1, axis=axis)
    return jnp.concatenate([ahead, none], axis) + jnp.concatenate([none, behind], axis)
