"""Attention weighed by what it does to the score: Chefer's two methods, and rollout."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import wide, widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, reader
from jaxattr.attention._tokens import (
    AttentionMap,
    Weights,
    attention_maps,
    back,
    grid_of,
    row_sums,
    shown,
    start,
)
from jaxattr.program import Rule, Traced, is_attention, with_attention
from jaxattr.rules import AlphaBeta
from jaxattr.rules._relevance import Relevance

Weighing = Literal["attention", "relevance"]
_EPSILON = 1e-6  # Of sums without weights in the pass of relevance, as in `lrp`.


def transformer_attribution(
    f: Network,
    *,
    weighing: Weighing = "attention",
    tokens: Sequence[int] | None = None,
    class_token: bool | None = None,
    score: Score = "logit",
) -> Callable[..., AttentionMap]:
    r"""Attributes the score by attention maps, weighed by their gradient.

    With :math:`\bar A_l = \mathrm{mean}_h (\nabla A_l \odot A_l)^+` over heads, the map
    is the row of :math:`(I + \bar A_L) \cdots (I + \bar A_1)` that the head reads.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K], with attention spelled out.
      weighing: "attention" weighs the map itself (ICCV 2021); "relevance" the relevance
        that reaches it (CVPR 2021), by one more backward pass.
      tokens: (T', H', W') in the order of rows; None takes `f.spec.tokens`.
      class_token: whether the head reads a token that stands before them; None takes
        `f.spec.class_token`.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> AttentionMap`. Where the head reads the mean of all
      tokens the identity leaves 1 / n at each.

    Raises:
      ValueError: unknown weighing or tokens; from the call, a network without attention
        that can be seen, or with maps of other tokens (the shape is shown).

    References:
      Chefer, Gur and Wolf, "Generic Attention-model Explainability", ICCV 2021,
      https://arxiv.org/abs/2103.15679; "Transformer Interpretability Beyond Attention
      Visualization", CVPR 2021, https://arxiv.org/abs/2012.09838. Deviation of
      "relevance": relevance goes by z+ through products with weights, a layer norm
      keeps its deviation fixed, and no map is normalised by rows.
      Verified; "relevance" is our reading.
    """
    if weighing not in get_args(Weighing):
        raise ValueError(
            f"`weighing` must be one of {get_args(Weighing)}, got {weighing!r}."
        )
    grid = grid_of(f, tokens, class_token)
    return explainer(
        _attribute, f, single=True, score=score, grid=grid, weighing=weighing
    )


def gradient_rollout(
    f: Network,
    *,
    tokens: Sequence[int] | None = None,
    class_token: bool | None = None,
    score: Score = "logit",
) -> Callable[..., AttentionMap]:
    r"""Attributes the score by a rollout of attention maps weighed by their gradient.

    As `transformer_attribution`, with every :math:`I + \bar A_l` divided by the sums of
    its rows: each layer hands on what it got, as in `attention_rollout`.

    Args:
      f: network, as for `transformer_attribution`.
      tokens: likewise.
      class_token: likewise.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> AttentionMap`, which sums to 1 with its class token.

    Raises:
      ValueError: as `transformer_attribution`.

    References:
      The row-normalised form of the code of Chefer et al., CVPR 2021,
      https://arxiv.org/abs/2012.09838, without relevance.
      From code.
    """
    grid = grid_of(f, tokens, class_token)
    return explainer(_gradient_rollout, f, single=True, score=score, grid=grid)


def _attribute(f, clip, target, *, score, grid, weighing):
    network = with_attention(f)
    row = start(grid, widen(clip).dtype)
    for a in reversed(_weighed(network, clip, target, score, grid, weighing)):
        row = _sum(row, back(row, a, kept=False))
    return shown(row, grid, clip)


def _gradient_rollout(f, clip, target, *, score, grid):
    network = with_attention(f)
    row = start(grid, widen(clip).dtype)
    for a in reversed(_weighed(network, clip, target, score, grid, "attention")):
        row = jax.tree.map(lambda r, total: r / (1 + total), row, row_sums(row, a))
        row = _sum(row, back(row, a, kept=False))
    return shown(row, grid, clip)


def _weighed(network, clip, target, score, grid, weighing) -> list[jax.Array]:
    """For every attention map [P, queries, keys], not negative."""
    taps, gradients = _pulled(network, clip, target, score)
    if weighing == "relevance":
        rule = Relevance(network, lambda eqn: AlphaBeta(1.0, 0.0), _EPSILON)
        taps = _pulled(network, clip, target, score, rule)[1]
    pairs = (attention_maps(found, network, grid) for found in (taps, gradients))
    return [
        jnp.maximum(widen(a) * widen(g), 0).mean(1) for a, g in zip(*pairs, strict=True)
    ]


def _pulled(
    network: Traced, clip: Any, target: Any, score: Score, rule: Rule | None = None
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """All attention maps, and the gradient or relevance with respect to each."""
    read = reader(network, clip, target, score)
    ruled = rule is not None  # Then the backward pass is float32 or wider.
    zeros = {
        name: jnp.zeros(struct.shape, wide(struct.dtype) if ruled else struct.dtype)
        for name, (struct, _) in network.tap_axes().items()
        if is_attention(name)
    }

    def scored(shifts):
        output, taps = network.tapped(clip, shifts, rule, wide=ruled)
        return read(output), {name: taps[name] for name in zeros}

    gradients, taps = jax.grad(scored, has_aux=True)(zeros)
    return taps, gradients


def _sum(a: Weights, b: Weights) -> Weights:
    return jax.tree.map(jnp.add, a, b)
