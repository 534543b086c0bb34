"""Controls: maps that never ask the network, which a method should do better than."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, poison_of

Kind = Literal["random", "centre", "motion", "edges"]


class ControlMap(NamedTuple):
    """A map that knows nothing of the network.

    Attributes:
      values: [T, H, W], float32 or wider; "random" is signed, the others are not.
    """

    values: jax.Array


def control(
    f: Network, *, kind: Kind = "random", score: Score = "logit"
) -> Callable[..., ControlMap]:
    r"""Gives a map that does not depend on what the network says.

    A method that is not better than these has not shown that it explains anything, and
    a metric that cannot tell them from an explanation measures something else.

    - "random": independent :math:`N(0, 1)`. Chance, for any metric.
    - "centre": a Gaussian around the middle of the clip, its standard deviation a sixth
      of each side. What one gets for knowing where people point cameras.
    - "motion": absolute difference to the frame before, mean over channels; the first
      frame has the values of the second. A single frame has none.
    - "edges": magnitude of the Sobel gradient of every frame, mean over channels, the
      border repeated. Methods that draw outlines look like explanations, too.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; traced, as by every method, to
        check the target, and never evaluated for the map.
      kind: which one.
      score: says which targets are legal, and nothing else; see `jaxattr.Score`.

    Returns:
      `explain(clip, target, *, key=None) -> ControlMap`; "random" needs the key.

    Raises:
      ValueError: an unknown kind; from `explain`, a missing key, a target out of range
        (a traced one gives NaN).
      TypeError: from `explain`, a clip that is not floating point.

    References:
      Edges: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018,
      https://arxiv.org/abs/1810.03292, section 5.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {kind!r}.")
    random = kind == "random"
    core = _random if random else _of_clip
    settings = {} if random else {"kind": kind}
    return explainer(core, f, random=random, single=True, score=score, **settings)


def _random(f, clip, target, *, key, score):
    values = jax.random.normal(key, clip.shape[:3], widen(clip).dtype)
    return _unless_bad(values, f, clip, target, score)


def _of_clip(f, clip, target, *, kind, score):
    values = {"centre": _centre, "motion": _motion, "edges": _edges}[kind](widen(clip))
    return _unless_bad(values, f, clip, target, score)


def _unless_bad(values, f, clip, target, score):
    poison = poison_of(f, clip, target, score)
    return ControlMap(values * poison.astype(values.dtype))


def _centre(clip):
    """exp(-|p|^2 / 2), p from the middle in units of a sixth of each side."""
    axes = [
        (jnp.arange(size, dtype=clip.dtype) - (size - 1) / 2) * (6 / size)
        for size in clip.shape[:3]
    ]
    t, y, x = jnp.meshgrid(*axes, indexing="ij")
    return jnp.exp(-(t**2 + y**2 + x**2) / 2)


def _motion(clip):
    if len(clip) == 1:
        return jnp.zeros_like(clip[..., 0])
    change = jnp.abs(jnp.diff(clip, axis=0)).mean(-1)
    return jnp.concatenate([change[:1], change])


def _edges(clip):
    """Differences [-1, 0, 1] along one side, smoothed [1, 2, 1] along the other."""
    framed = jnp.pad(clip, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down = _differences(framed, 1, 2)
    across = _differences(framed, 2, 1)
    return jnp.sqrt(down**2 + across**2).mean(-1)


def _differences(framed, along, beside):
    def cut(x, axis, start, margin):
        size = x.shape[axis] - margin
        return jax.lax.slice_in_dim(x, start, start + size, axis=axis)

    slope = cut(framed, along, 2, 2) - cut(framed, along, 0, 2)
    low, middle, high = (cut(slope, beside, start, 2) for start in range(3))
    return low + 2 * middle + high
