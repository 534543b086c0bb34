"""Infidelity: how well an explanation predicts what perturbations do to the score."""

import math
import numbers
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import filled, narrow, widen
from jaxattr._expectation import check_chunk, check_count, moments
from jaxattr._explainer import as_pytree
from jaxattr._score import Network, Score, bind, check_score
from jaxattr.metrics._method_metric import (
    Method,
    attribute,
    method_metric,
)
from jaxattr.program import trace

Perturbation = Literal["cuboid", "noise"]


class Infidelity(NamedTuple):
    """Mean square error of the change that an explanation predicts.

    Attributes:
      infidelity: [] in squared units of the score; lower is better.
      standard_error: [] of it, over the perturbations.
      scaled: [] the same for the explanation times `scale`: use it to compare methods,
        whose units differ. A difference of sums: rounding leaves some 1e-6 of `trivial`
        in float32.
      scale: [] the factor that fits best; 0 for an explanation that is zero.
      trivial: [] infidelity of the explanation 0, a mean square change of the score.
        `1 - scaled / trivial` is the share of the changes that is explained, 0 to 1.
    """

    infidelity: jax.Array
    standard_error: jax.Array
    scaled: jax.Array
    scale: jax.Array
    trivial: jax.Array


def infidelity(
    method: Method,
    f: Network,
    *,
    perturbation: Perturbation = "cuboid",
    window: tuple[int, int, int] | None = None,
    baseline: jax.Array | float = 0.0,
    noise: float = 0.2,
    num_samples: int = 1000,
    score: Score = "logit",
    chunk: int | None = None,
) -> Callable[..., Infidelity]:
    r"""Compares predicted and actual changes of the score under random perturbations.

    :math:`E_I [(I \cdot \phi - (s(x) - s(x - I)))^2]`. Values :math:`\phi` must be in
    units of the score per unit of the clip, as gradients are. Attributions that have
    been multiplied by the clip are judged by `scaled` at best; maps [T, H, W] cannot
    be judged.

    Args:
      method: transform such as `jaxattr.saliency`, or a `functools.partial` of one,
        with values of the clip's shape. It gets the `score`.
      f: network, one clip [T, H, W, C] -> output.
      perturbation: "cuboid" puts the baseline into a box at a random place, uniform
        over all in which it fits; "noise" replaces the whole clip by the baseline plus
        Gaussian noise.
      window: frames, rows and columns of the cuboid; None takes a quarter of each side,
        rounded up.
      baseline: b, a number or an array that fits the clip, in the units of the clip.
      noise: standard deviation, as a fraction of the clip's range.
      num_samples: perturbations; the standard error falls with its square root.
      score: what is explained and measured; see `jaxattr.Score`.
      chunk: clips evaluated side by side; changes memory, never the result.

    Returns:
      `measure(clip, target, *, key) -> Infidelity`. Lower is better, from 0; what an
      explanation without content gets is `trivial`.

    Raises:
      ValueError: an unknown perturbation, a window that is not three counts, negative
        noise, `num_samples < 2`, a method with another score; when called, values or a
        window that do not fit the clip, a missing key, a bad target.

    References:
      Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019,
      https://arxiv.org/abs/1901.09392, definition 2.1 and section 2.3. Their squares
      become cuboids; noise in units of the clip's range is our reading.
    """
    if perturbation not in get_args(Perturbation):
        raise ValueError(
            f"`perturbation` must be one of {get_args(Perturbation)}, got "
            f"{perturbation!r}."
        )
    if window is not None:
        if not isinstance(window, tuple) or len(window) != 3:
            raise ValueError(
                f"`window` must be (frames, rows, columns), got {window!r}."
            )
        for side in window:
            check_count("window", side)
    if not isinstance(noise, numbers.Real) or not 0 <= noise < math.inf:
        raise ValueError(f"`noise` must be a fraction of at least 0, got {noise!r}.")
    check_count("num_samples", num_samples)
    if num_samples < 2:
        raise ValueError("`num_samples` must be at least 2 to tell the error, got 1.")
    check_chunk(chunk)
    check_score(score)
    given = getattr(method, "keywords", {}).get("score", score)
    if given != score:
        raise ValueError(
            f"`method` explains the score {given!r}, but `score` is {score!r}."
        )
    if callable(method):
        method = jax.tree_util.Partial(_with_score, as_pytree(method), score)
    return method_metric(
        _infidelity,
        method,
        f,
        baseline,
        noise,
        perturbation=perturbation,
        window=window,
        num_samples=num_samples,
        score=score,
        chunk=chunk,
    )


def _with_score(method, score, f):
    return method(f, score=score)


def _infidelity(
    method,
    f,
    clip,
    target,
    baseline,
    noise,
    *,
    key,
    perturbation,
    window,
    num_samples,
    score,
    chunk,
):
    draw_key, method_key = jax.random.split(key)
    values = attribute(method(f), clip, target, method_key)
    if values.shape != clip.shape:
        raise ValueError(
            "`method` must give values of the clip's shape "
            f"{tuple(clip.shape)} to be multiplied by perturbations, got "
            f"{tuple(values.shape)}: maps without channels have no infidelity."
        )
    s = bind(trace(f, clip), clip, target, score)
    wide = widen(clip)
    substitute = filled(baseline, clip, "baseline")
    before = s(clip)
    sides = _cuboid(window, clip.shape)
    sigma = noise.astype(wide.dtype) * (wide.max() - wide.min())

    def sample(index):
        sample_key = jax.random.fold_in(draw_key, index)
        if perturbation == "cuboid":
            inside = _random_cuboid(sample_key, clip.shape, sides)
            after = jnp.where(inside, substitute, wide)
        else:
            after = substitute + sigma * jax.random.normal(
                sample_key, wide.shape, wide.dtype
            )
        predicted = ((wide - after) * values.astype(wide.dtype)).sum()
        change = (before - s(narrow(after, clip))).astype(wide.dtype)
        products = predicted * change, predicted**2, change**2
        return ((predicted - change) ** 2, *products)

    mean, _, error = moments(sample, num_samples, chunk=chunk)
    square, cross, size, trivial = mean
    scale = jnp.where(size > 0, cross / jnp.where(size > 0, size, 1), 0)
    scaled = jnp.maximum(trivial - scale * cross, 0)  # Rounding may go below.
    return Infidelity(square, error[0], scaled, scale, trivial)


def _cuboid(window, shape):
    sides = window or tuple(-(-size // 4) for size in shape[:3])
    if any(side > size for side, size in zip(sides, shape)):
        raise ValueError(
            f"`window` {sides} is larger than the clip of {tuple(shape[:3])}."
        )
    return sides


def _random_cuboid(key, shape, sides):
    """[T, H, W, 1] bool, a box at a place uniform over all in which it fits."""
    inside = jnp.ones((1, 1, 1, 1), bool)
    for axis, side in enumerate(sides):
        free = shape[axis] - side + 1
        start = jax.random.randint(jax.random.fold_in(key, axis), (), 0, free)
        place = jnp.arange(shape[axis], dtype=start.dtype)
        here = (start <= place) & (place < start + side)
        inside &= jnp.expand_dims(here, [a for a in range(4) if a != axis])
    return inside
