"""Gradients of the score: saliency, and saliency times the clip or its change."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr._clip import check_filling, filled, widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind


class GradientAttribution(NamedTuple):
    """One signed number per voxel.

    Attributes:
      values: like the clip, [T, H, W, C], in float32 or wider. For `saliency` in units
        of the score per unit of the clip, for `input_x_gradient` of the score.
    """

    values: Any


def saliency(
    f: Network, *, score: Score = "logit"
) -> Callable[..., GradientAttribution]:
    r"""Attributes the score to voxels by its gradient.

    Element :math:`i` gets :math:`\partial s / \partial x_i`.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K].
      score: what to explain; see `jaxattr.Score`. The video study uses "prob".

    Returns:
      `explain(clip, target) -> GradientAttribution`, raw and signed: the absolute value
      and the mean over channels that are usually shown are `to_heatmap`'s work.

    References:
      Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", ICLR 2014
      workshop, https://arxiv.org/abs/1312.6034, section 3.
      Verified.
    """
    return explainer(_saliency, f, score=score)


def input_x_gradient(
    f: Network, *, baseline: Any = 0.0, score: Score = "logit"
) -> Callable[..., GradientAttribution]:
    r"""Attributes the score by gradient times clip, or times its change.

    With baseline :math:`b`, element :math:`i` gets :math:`(x_i - b_i) \, \partial s /
    \partial x_i`: the first-order Taylor expansion about the clip, whose sum is the
    change of the score from a baseline near by, and the score itself if that is a root.
    Exact for a network that is linear in the clip; in network units the clip's zero is
    the mean colour, which therefore never gets anything.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K].
      baseline: number, [C], [T, H, W, C] or a pytree like the clip, in the clip's
        units: what gets nothing.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> GradientAttribution`.

    Raises:
      ValueError: from `explain`, a baseline that does not fit.
      TypeError: a baseline of text.

    References:
      Shrikumar et al., "Not Just a Black Box", 2016, https://arxiv.org/abs/1605.01713,
      with baseline 0. Another is our reading of the simple Taylor form of Montavon et
      al., Pattern Recognition 2017, https://arxiv.org/abs/1512.02479, which takes the
      derivative at the root; for a root on the ray of the clip, and a ReLU network
      without biases, that is the same. Verified but for a baseline.
    """
    check_filling(baseline, "baseline")
    return explainer(_input_x_gradient, f, baseline, score=score)


def _saliency(f, clip, target, *, score):
    s = bind(f, clip, target, score)
    return GradientAttribution(widen(jax.grad(s)(clip)))


def _input_x_gradient(f, clip, target, baseline, *, score):
    gradient = _saliency(f, clip, target, score=score).values
    root = filled(baseline, clip, "baseline")
    return GradientAttribution(
        jax.tree.map(lambda x, b, g: (x - b) * g, widen(clip), root, gradient)
    )
