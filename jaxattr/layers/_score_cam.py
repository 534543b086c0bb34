"""Score-CAM: channels weighed by the score of the clip that shows through them."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_chunk, each
from jaxattr._explainer import explainer
from jaxattr._resize import to_clip
from jaxattr._score import Network, Score, bind
from jaxattr._substitute import check_substitute
from jaxattr._tap import activation, chosen, on_clip, place
from jaxattr.layers._layer_map import LayerAttribution
from jaxattr.perturbation._hiding import BY_VOXEL, hiding

Weights = Literal["softmax", "score"]
_EPSILON = 1e-7  # Of a channel's range; a flat channel becomes a mask of zeros.


def score_cam(
    f: Network,
    layer: str | None = None,
    *,
    weights: Weights = "softmax",
    substitute: Any = "mean",
    score: Score = "logit",
    chunk: int | None = None,
    resize: bool = True,
    relu: bool = True,
) -> Callable[..., LayerAttribution]:
    r"""Attributes the score to the cells of a layer without a gradient.

    The activation of channel :math:`k`, shown on the clip and scaled to 0..1, is a mask
    :math:`m_k`; :math:`s_k` is the score of the clip that the mask shows, by default
    the clip times it. The map is :math:`\max(\sum_k \mathrm{softmax}(s)_k A_k, 0)`.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]; evaluated once for each channel.
      layer: name of a layer of [T', H', W', C']; None takes `f.spec.tap`.
      weights: "softmax" over channels, as published; the soft-max of large logits
        leaves few channels. "score" adds up the masks weighed by their scores, as the
        video study does with score="prob".
      substitute: what hidden voxels become: "mean" (0 in network units, as published),
        "clip_mean", "blur", "median" (over time), "noise", "freeze" (what was shown
        before), "black" or an array.
      score: what to explain; see `jaxattr.Score`.
      chunk: channels evaluated side by side; changes memory, never the result.
      resize: show the map on the clip, linearly between the centres of the cells.
      relu: keep what speaks for the target only.

    Returns:
      `explain(clip, target) -> LayerAttribution`.

    Raises:
      ValueError: unknown weights or substitute, a bad chunk, a missing or unknown
        layer, one without extent in space and time.

    References:
      Wang et al., "Score-CAM", CVPR 2020 workshops, https://arxiv.org/abs/1910.01279
      (what it subtracts, the score of a baseline, the soft-max cancels); "score": Li et
      al., TCSVT 2021, https://arxiv.org/abs/2109.00222.
      Verified.
    """
    if weights not in get_args(Weights):
        raise ValueError(
            f"`weights` must be one of {get_args(Weights)}, got {weights!r}."
        )
    check_chunk(chunk)
    name, value = check_substitute(substitute, f, BY_VOXEL)
    return explainer(
        _score_cam,
        f,
        value,
        single=True,
        modules=True,
        score=score,
        layer=chosen(f, layer),
        weights=weights,
        name=name,
        chunk=chunk,
        resize=resize,
        relu=relu,
    )


def _score_cam(
    f, clip, target, value, *, score, layer, weights, name, chunk, resize, relu
):
    a, axes = activation(f, clip, layer), place(f, layer)
    s = bind(f, clip, target, score)
    show = hiding(name, value, clip)

    def masked(k):
        channel = jax.lax.dynamic_index_in_dim(a, k, 3, keepdims=False)
        shown = to_clip(channel, clip.shape[:3], axes)
        low = shown.min()
        span = shown.max() - low + _EPSILON
        return s(show((shown - low) / span)), low, span

    scores, low, span = each(masked, a.shape[3], chunk=chunk)
    if weights == "softmax":
        cells = a @ jax.nn.softmax(scores).astype(a.dtype)
    else:
        per_channel = scores.astype(a.dtype) / span
        cells = a @ per_channel - (low * per_channel).sum()
    cells = jnp.maximum(cells, 0) if relu else cells
    values = on_clip(f, clip, layer, cells) if resize else cells
    return LayerAttribution(values, cells)
