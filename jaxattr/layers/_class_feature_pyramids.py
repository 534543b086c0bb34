"""Class Feature Pyramids: from the class down through the kernels that feed it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._explainer import explainer
from jaxattr._resize import to_clip
from jaxattr._score import Network, poison_of
from jaxattr._tap import chosen, struct_of, volume
from jaxattr.layers._cam import require_linear_head
from jaxattr.layers._channels import Channels


class PyramidLevel(NamedTuple):
    """One convolution of a pyramid.

    Attributes:
      values: [T, H, W] `cells` on the clip.
      cells: [T', H', W'] in 0..1: mean over the kept channels of their tubes. A tube is
        the sum of what it keeps of the input of the convolution, scaled to 0..1.
      channels: [O] which channels of the convolution are kept.
      inputs: [I, O] which channels of its input each of these keeps.
    """

    values: jax.Array
    cells: jax.Array
    channels: jax.Array
    inputs: jax.Array


class FeaturePyramid(NamedTuple):
    """Levels from the chosen layer downward.

    Attributes:
      values: [T, H, W] in 0..1, mean over the levels.
      levels: one for each convolution, the topmost first.
    """

    values: jax.Array
    levels: tuple[PyramidLevel, ...]


def class_feature_pyramids(
    f: Network, layer: str | None = None, *, depth: int = 3, threshold: float = 0.6
) -> Callable[..., FeaturePyramid]:
    r"""Attributes the logit to cells of a chain of convolutions, kernel by kernel.

    Of the layer before pooling it keeps the channels whose weight for the class is at
    least `threshold` when all weights of the prediction layer are scaled to 0..1. A
    kept channel :math:`i` keeps those channels :math:`j` of its convolution's input
    where :math:`p_j = \overline{w_{ij}}\,\overline{A_j}`, means over time and space,
    is at least `threshold` after division by :math:`\sum_j p_j` and scaling to 0..1;
    and so on downward. Means know nothing of where: a kernel that finds motion and one
    that finds none may have the same.

    The convolutions are found in the program, through biases, batch norm, activations,
    pools and jitted functions.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of the layer that is pooled; None takes `f.spec.tap`.
      depth: convolutions to go down, or fewer where the clip is reached.
      threshold: what is kept, 0..1. The authors take 0.55 to 0.65, by network.

    Returns:
      `explain(clip, target) -> FeaturePyramid`. Where nothing is kept, it is zero.

    Raises:
      ValueError: a missing or unknown layer, one without extent in space and time; a
        depth below 1, a threshold outside 0..1; anything but pooling and one linear
        layer after it; and what else than a convolution makes channels of others on
        the way, which is named: grouped convolutions, concatenations, gates, matrix
        products, loops.

    References:
      Stergiou et al., "Class Feature Pyramids for Video Explanation", ICCV 2019
      workshops, https://arxiv.org/abs/1909.08611. Our reading: of a residual sum the
      branch of more convolutions is followed; a level's map is the mean of its tubes,
      scaled before they are enlarged, and `values` the mean of the levels, where they
      show tube by tube. As in their code, a sum that is negative turns the order.
      The rest from code.
    """
    if depth < 1:
        raise ValueError(f"`depth` must be at least 1, got {depth}.")
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be in 0..1, got {threshold}.")
    return explainer(
        _class_feature_pyramids,
        f,
        single=True,
        modules=True,
        score="logit",
        layer=chosen(f, layer),
        depth=depth,
        threshold=float(threshold),
    )


def _class_feature_pyramids(f, clip, target, *, score, layer, depth, threshold):
    require_linear_head(f, clip, layer)
    poison = poison_of(f, clip, target, score)
    index = jnp.where(jnp.isnan(poison), 0, target)
    kept = _scaled(_class_weights(f, clip, layer), None)[index] >= threshold
    channels = Channels(f, clip)
    value = f.tapped(clip, rule=channels)[1][layer]
    origin = channels.of(value)
    if origin.lost is None and origin.axis != value.ndim - 1:
        origin = origin._replace(lost="what moves them from the last axis")
    axes, levels = f.operand_axes(), []
    while len(levels) < depth and (origin.lost or origin.convolution):
        if origin.lost is not None:
            raise ValueError(
                f"`layer` {layer!r} must come of convolutions, {depth} of them or as "
                f"many as there are; on the way from number {len(levels) + 1} of them "
                f"to what is above channels are made by {origin.lost}. Lower `depth`, "
                "or take Grad-CAM."
            )
        conv = origin.convolution
        a, place = volume(widen(conv.input), conv.axis, axes[id(conv.eqn)])
        means = widen(conv.kernel).mean(tuple(range(2, conv.kernel.ndim)))
        p = means * a.mean((0, 1, 2))[:, None]
        p = p / _nonzero(p.sum(0, keepdims=True))
        inputs = (_scaled(p, 0) >= threshold) & kept[None]
        tubes = _scaled(a @ inputs.astype(a.dtype), (0, 1, 2))
        count = jnp.maximum(kept.sum(), 1).astype(a.dtype)
        cells = tubes @ kept.astype(a.dtype) / count
        cells = cells * poison.astype(a.dtype)
        shown = to_clip(cells, clip.shape[:3], place)
        levels.append(PyramidLevel(shown, cells, kept, inputs))
        kept, origin = inputs.any(1), conv.below
    if not levels:
        raise ValueError(
            f"`layer` {layer!r} must come of a convolution: it is the clip."
        )
    return FeaturePyramid(jnp.stack([x.values for x in levels]).mean(0), tuple(levels))


def _class_weights(f, clip, layer):
    """[K, C] of the prediction layer; it is linear in the means of channels."""
    struct = struct_of(f, layer)

    def logits(shift):
        return f.tapped(clip, {layer: jnp.broadcast_to(shift, struct.shape)})[0]

    return widen(jax.jacrev(logits)(jnp.zeros(struct.shape[-1], struct.dtype)))


def _scaled(x, axes):
    """To 0..1; what is flat becomes 0."""
    low = x.min(axes, keepdims=True)
    return (x - low) / _nonzero(x.max(axes, keepdims=True) - low)


def _nonzero(x):
    return jnp.where(x == 0, 1, x)
