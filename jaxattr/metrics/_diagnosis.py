"""Does the network look at time at all? Scores with the frames reordered, or alone."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._expectation import check_chunk, check_count, each, moments
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute, fill_in


class TemporalDiagnosis(NamedTuple):
    """Scores of one clip with its time, or its space, taken apart.

    Attributes:
      original: [] of the clip as it is.
      shuffled: [] mean over random orders of the frames.
      shuffled_error: [] standard error of that mean; NaN from a single order.
      reversed: [] of the clip played backwards.
      frozen: [T] of the clip that stands still at frame t: that frame, T times.
      single_frame: [T] with frame t in its place and all others substituted.
      foreground_only: [] with all but the foreground substituted; None without one.
      background_only: [] with the foreground substituted; None without one.
      order_matters: [] `original - shuffled`.
      motion_matters: [] `original - frozen.max()`, what motion adds to the best still.
    """

    original: jax.Array
    shuffled: jax.Array
    shuffled_error: jax.Array
    reversed: jax.Array
    frozen: jax.Array
    single_frame: jax.Array
    foreground_only: jax.Array | None
    background_only: jax.Array | None
    order_matters: jax.Array
    motion_matters: jax.Array


def temporal_diagnosis(
    f: Network,
    *,
    num_shuffles: int = 8,
    substitute: Any = "mean",
    score: Score = "prob",
    chunk: int | None = None,
) -> Callable[..., TemporalDiagnosis]:
    """Scores of a clip under shuffle, reverse, freeze, and of its parts alone.

    A network that looks at single frames scores a still as it scores the clip, and the
    shuffled clip likewise. Where both differences are near 0 no heat map can show how
    time was used, as it was not; `static_dynamic_split` asks the same of a heat map.

    This describes the network on a clip; nothing is better or worse. Range: scores as
    `score` has them, 0..1 for "prob"; the two differences -1..1. Of a network that
    ignores the order of frames `order_matters` is 0. Of one that averages logits over
    single frames `motion_matters` is at most 0 under "logit"; a probability may exceed
    that of every still, where frames rule out different classes. Reordered and still
    clips are unlike what the network was trained on: a low score says that it needs
    what was taken away, or that it is confused by what came instead. Read `reversed`
    with care where a class has a mirror image in time.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      num_shuffles: random orders of the frames, of all T! with equal probability.
      substitute: what is seen in place of frames and voxels taken away; "mean" is 0 in
        network units; see `insertion`.
      score: what is measured; see `jaxattr.Score`.
      chunk: scores computed side by side; changes memory, never the result.

    Returns:
      `metric(clip, target, foreground=None, *, key) -> TemporalDiagnosis`, to be
      composed with `jit` and `vmap`; `foreground` is bool [T, H, W], the evidence where
      it is known or the hottest voxels of a map. It evaluates the network
      2 T + num_shuffles + 2 times, and twice more with a foreground.

    Raises:
      ValueError: counts below 1, an unknown name; from the call, a foreground of
        another shape, a missing key, a target out of range (a traced one gives NaN).
      TypeError: from the call, a clip that is not floating point, a foreground that is
        not bool.

    References:
      Our definition. Freezing and reversing: Manttari, Broome, Folkesson and
      Kjellstrom, "Interpreting Video Features", ACCV 2020,
      https://arxiv.org/abs/2002.00367. Stills: Huang et al., "What Makes a Video a
      Video", CVPR 2018. Deviation: whole clips are frozen and reversed, no mask learnt.
    """
    check_count("num_shuffles", num_shuffles)
    check_chunk(chunk)
    name, value = check_substitute(substitute, f)
    bound = explainer(
        _diagnose,
        f,
        value,
        random=True,
        single=True,
        inputs={"foreground": _check_foreground},
        num_shuffles=num_shuffles,
        name=name,
        score=score,
        chunk=chunk,
    )
    return jax.tree_util.Partial(_call, bound)


def _call(bound, clip, target, foreground=None, *, key=None):
    """What `explainer` binds, with an input that may be left out."""
    return bound(clip, target, foreground, key=key)


def _check_foreground(foreground, clip):
    if foreground is None:
        return None
    kind = getattr(foreground, "dtype", None)
    if kind is None or not jnp.issubdtype(kind, jnp.bool_):
        raise TypeError(
            "`foreground` must be a bool array [T, H, W], True where the foreground "
            f"is, got {kind or type(foreground).__name__}; of a heat map take the "
            "hottest voxels."
        )
    if foreground.shape != clip.shape[:3]:
        raise ValueError(
            f"`foreground` must be [T, H, W] = {clip.shape[:3]}, as the clip, got "
            f"shape {foreground.shape}."
        )
    return jnp.asarray(foreground)


class _States(NamedTuple):
    """N ways to show a clip: order of frames, which of them, and which part of each."""

    order: jax.Array  # [N, T] int32, the frame of the clip that is seen at each time.
    shown: jax.Array  # [N, T] bool, whether it is; else the substitute.
    part: jax.Array  # [N] int32: 0 all of it, 1 the foreground, 2 the background.


def _diagnose(
    f,
    clip,
    target,
    value,
    *,
    key,
    foreground,
    num_shuffles,
    name,
    score,
    chunk,
):
    s = bind(f, clip, target, score)
    base = fill_in(name, value, clip)
    frames = clip.shape[0]
    states = _states(key, frames, num_shuffles, foreground is not None)
    parts = jnp.ones((1, *clip.shape[:3]), bool)
    if foreground is not None:
        parts = jnp.stack([parts[0], foreground, ~foreground])

    def state(i):  # One form for all of them, so that the network compiles once.
        order, shown, part = jax.tree.map(lambda leaf: leaf[i], states)
        keep = shown[:, None, None] & parts[part]
        return s(jnp.where(keep[..., None], clip[order], base))

    scores = each(state, len(states.part), chunk=chunk)
    ends = np.cumsum([1, 1, num_shuffles, frames, frames])
    original, backwards, shuffled, frozen, single, rest = jnp.split(scores, ends)
    original, best = original[0], frozen.max()
    mean = moments(lambda i: shuffled[i], num_shuffles, chunk=num_shuffles)
    return TemporalDiagnosis(
        original=original,
        shuffled=mean.mean,
        shuffled_error=mean.standard_error,
        reversed=backwards[0],
        frozen=frozen,
        single_frame=single,
        foreground_only=None if foreground is None else rest[0],
        background_only=None if foreground is None else rest[1],
        order_matters=original - mean.mean,
        motion_matters=original - best,
    )


def _states(key, frames, num_shuffles, masked):
    """In the order of the fields of the result."""
    times = jnp.arange(frames, dtype=jnp.int32)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(
        jnp.arange(num_shuffles, dtype=jnp.int32)
    )
    shuffles = jax.vmap(lambda k: jax.random.permutation(k, times))(keys)
    stills = jnp.broadcast_to(times[:, None], (frames, frames))
    as_it_is = jnp.broadcast_to(times, (frames + 2 * masked, frames))
    order = jnp.concatenate(
        [times[None], times[::-1][None], shuffles, stills, as_it_is]
    )
    shown = jnp.ones(order.shape, bool)
    first = 2 + num_shuffles + frames
    shown = shown.at[first : first + frames].set(jnp.eye(frames, dtype=bool))
    part = jnp.zeros(len(order), jnp.int32)
    if masked:
        part = part.at[-2:].set(jnp.array([1, 2], jnp.int32))
    return _States(order, shown, part)
