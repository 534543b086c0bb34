"""Gradients of the score: saliency, and saliency times the clip."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr._clip import widen
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
    """
    return explainer(_saliency, f, score=score)


def input_x_gradient(
    f: Network, *, score: Score = "logit"
) -> Callable[..., GradientAttribution]:
    r"""Attributes the score by gradient times clip.

    Element :math:`i` gets :math:`x_i \, \partial s / \partial x_i`. Exact for a
    network that is linear in the clip; in network units the clip's zero is the mean
    colour, which therefore never gets anything.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K].
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> GradientAttribution`.

    References:
      Shrikumar et al., "Not Just a Black Box", 2016, https://arxiv.org/abs/1605.01713.
    """
    return explainer(_input_x_gradient, f, score=score)


def _saliency(f, clip, target, *, score):
    s = bind(f, clip, target, score)
    return GradientAttribution(widen(jax.grad(s)(clip)))


def _input_x_gradient(f, clip, target, *, score):
    gradient = _saliency(f, clip, target, score=score).values
    return GradientAttribution(jax.tree.map(lambda x, g: x * g, widen(clip), gradient))
