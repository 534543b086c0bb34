"""Linear approximation: gradient times activation, or times the clip itself."""

from collections.abc import Callable

import jax

from jaxattr._clip import widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr.layers._hires_cam import hires_cam
from jaxattr.layers._layer_map import LayerAttribution


def linear_approximation(
    f: Network,
    layer: str | None = None,
    *,
    score: Score = "logit",
    resize: bool = True,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score by what a linear model of it, made here, takes from a cell.

    Cell :math:`u` gets :math:`\sum_k A_k(u)\,\partial s / \partial A_k(u)`, signed. At
    the clip, which is where the video study looks, these are sums over colours of
    `input_x_gradient`; at a layer it is `hires_cam`, which has the same sum and may
    keep its positive part.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of a layer of [T', H', W', C']; None takes the clip itself, not the
        layer that `f` recommends.
      score: what to explain; see `jaxattr.Score`. The video study uses "prob".
      resize: show the map of a layer on the clip, linearly between the centres of the
        cells.

    Returns:
      `explain(clip, target) -> LayerAttribution`, raw and signed. What is shown is the
      absolute value: `to_heatmap(values)`, with quantile=0.99 as in the study.

    Raises:
      ValueError: an unknown layer (the nearest names are shown), one without extent in
        space and time.

    References:
      Li et al., TCSVT 2021, https://arxiv.org/abs/2109.00222, which compares with it at
      the clip.
      From code.
    """
    if layer is None:
        return explainer(_of_the_clip, f, single=True, score=score)
    return hires_cam(f, layer, score=score, resize=resize, relu=False)


def _of_the_clip(f, clip, target, *, score):
    gradient = jax.grad(bind(f, clip, target, score))(clip)
    values = (widen(clip) * widen(gradient)).sum(-1)
    return LayerAttribution(values, values)
