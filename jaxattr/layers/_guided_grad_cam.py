"""Guided Grad-CAM: guided backpropagation where Grad-CAM is."""

from collections.abc import Callable

from jaxattr._explainer import explainer
from jaxattr._score import Network, Score
from jaxattr._tap import chosen, on_clip
from jaxattr.layers._grad_cam import grad_cam_of
from jaxattr.layers._layer_map import Pool, check_pool
from jaxattr.rules import RuleAttribution
from jaxattr.rules._guided_backprop import guided_gradient


def guided_grad_cam(
    f: Network,
    layer: str | None = None,
    *,
    pool: Pool = "global",
    score: Score = "logit",
) -> Callable[..., RuleAttribution]:
    """Attributes the score to voxels: guided backpropagation times Grad-CAM.

    Sharp because of its first factor, which shows edges whatever the network learnt;
    what it says of the network is in the second.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K], with ReLUs.
      layer: of Grad-CAM, whose map is shown on the clip; None takes `f.spec.tap`.
      pool: of Grad-CAM: "global" or "frame".
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> RuleAttribution`, [T, H, W, C], raw and signed.

    Raises:
      ValueError: as `grad_cam` and `guided_backprop`.

    References:
      Selvaraju et al., "Grad-CAM", ICCV 2017, https://arxiv.org/abs/1610.02391,
      section 3.2.
      Verified.
    """
    check_pool(pool)
    return explainer(
        _guided_grad_cam,
        f,
        single=True,
        modules=True,
        score=score,
        layer=chosen(f, layer),
        pool=pool,
    )


def _guided_grad_cam(f, clip, target, *, score, layer, pool):
    cells = grad_cam_of(f, clip, target, score=score, layer=layer, pool=pool)
    shown = on_clip(f, clip, layer, cells)
    guided = guided_gradient(f, clip, target, score=score)
    return RuleAttribution(guided * shown[..., None].astype(guided.dtype))
