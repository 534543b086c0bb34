"""Zoom-CAM: Layer-CAM of many layers, fused on the clip."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from jaxattr._explainer import explainer
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Network, Score
from jaxattr._tap import on_clip
from jaxattr.layers._layer_cam import layer_cam_of
from jaxattr.rules import RuleAttribution


def zoom_cam(
    f: Network, layers: Sequence[str] | None = None, *, score: Score = "logit"
) -> Callable[..., RuleAttribution]:
    """Attributes the score to voxels by the largest of the Layer-CAMs of many layers.

    Each layer's map is shown on the clip and scaled to 0..1, so that a shallow layer,
    whose gradients are small, adds its detail to the place that a deep one finds.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layers: their names; None takes all of `f.spec.taps`. One forward and one backward
        pass for each.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> RuleAttribution` with values [T, H, W] in 0..1.

    Raises:
      ValueError: no layers, or one that does not exist or has no extent.

    References:
      Shi et al., "Zoom-CAM", ICPR 2020, https://arxiv.org/abs/2010.08644. Our reading:
      each layer is scaled by its own range.
    """
    if layers is None:
        layers = [name for name, _ in getattr(getattr(f, "spec", None), "taps", ())]
    named = not isinstance(layers, str) and all(isinstance(n, str) for n in layers)
    if not layers or not named:
        raise ValueError(
            "`layers` must be names of layers, as `jaxattr.list_taps(f, clip)` shows "
            f"them, got {layers!r}."
        )
    return explainer(
        _zoom_cam, f, single=True, modules=True, score=score, layers=tuple(layers)
    )


def _zoom_cam(f, clip, target, *, score, layers):
    maps = []
    for layer in layers:
        cells = layer_cam_of(f, clip, target, score=score, layer=layer)
        maps.append(to_heatmap(on_clip(f, clip, layer, cells)))
    return RuleAttribution(jnp.stack(maps).max(0))
