"""Attention rollout: attention maps multiplied from the head down to the clip."""

from collections.abc import Callable, Sequence

from jaxattr._clip import widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, poison_of
from jaxattr.attention._tokens import (
    AttentionMap,
    Weights,
    attention_maps,
    back,
    grid_of,
    shown,
    start,
)
from jaxattr.program import with_attention


def attention_rollout(
    f: Network,
    *,
    tokens: Sequence[int] | None = None,
    class_token: bool | None = None,
    score: Score = "logit",
) -> Callable[..., AttentionMap]:
    r"""Attributes the output, whatever the class, by the product of attention maps.

    Layer :math:`l` with the mean over heads :math:`A_l` counts as
    :math:`\hat A_l = (A_l + I) / 2`, for the residual connection; the map is the row of
    :math:`\hat A_L \cdots \hat A_1` that the head reads. Attention over time and then
    over space ("divided") counts as two layers.

    It does not know the class: the map of every target is the same. Values, norms and
    perceptrons play no part.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K], with attention spelled out.
      tokens: (T', H', W') in the order of rows; None takes `f.spec.tokens`.
      class_token: whether the head reads a token that stands before them; None takes
        `f.spec.class_token`.
      score: not used, but for checks.

    Returns:
      `explain(clip, target) -> AttentionMap`, which sums to 1 with its class token.

    Raises:
      ValueError: unknown tokens; from the call, a network without attention that can
        be seen, or with maps of other tokens (the shape is shown).

    References:
      Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020,
      https://arxiv.org/abs/2005.00928.
      Verified.
    """
    grid = grid_of(f, tokens, class_token)
    return explainer(_rollout, f, single=True, score=score, grid=grid)


def _rollout(f, clip, target, *, score, grid):
    network = with_attention(f)
    _, taps = network.tapped(clip)
    row = start(grid, widen(clip).dtype)
    poison = poison_of(f, clip, target, score).astype(row.cls.dtype)
    row = Weights(*(part * poison for part in row))
    for a in reversed(attention_maps(taps, network, grid)):
        through = back(row, widen(a).mean(1), kept=True)
        row = Weights(*((x + y) / 2 for x, y in zip(row, through, strict=True)))
    return shown(row, grid, clip)
