"""Excitation backpropagation: which excitatory paths lead to the class."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._explainer import explainer
from jaxattr._score import Network, Score
from jaxattr._tap import chosen, look, on_clip
from jaxattr._warnings import warn_of_unseen
from jaxattr.rules._excitation import excitation
from jaxattr.rules._operations import products, unseen


class ExcitationMap(NamedTuple):
    """Probabilities of the cells of a layer.

    Attributes:
      values: [T, H, W], or [T', H', W'] with resize=False; float32 or wider.
      cells: [T', H', W'] probabilities, which sum to 1 in a network of products, sums,
        pools and ReLUs where no unit on the way was dead; gates, soft-max and other
        functions keep their derivative and with it no sum. With contrastive=True the
        difference of two, where it is positive.
      negative: [] share of the layer's activation that is negative, of its absolute
        sum. The rule is defined for units that are never negative: above 0 it took
        these for silent.
    """

    values: jax.Array
    cells: jax.Array
    negative: jax.Array


def excitation_backprop(
    f: Network,
    layer: str | None = None,
    *,
    contrastive: bool = False,
    score: Score = "logit",
    resize: bool = True,
) -> Callable[..., ExcitationMap]:
    r"""Attributes the score to the cells of a layer by a winner-take-all process.

    From the class downward, unit :math:`j` gets :math:`P_j = a_j \sum_k w^+_{jk} P_k /
    \sum_i a_i w^+_{ik}`: a random walk against the excitatory connections. Pools go
    likewise; biases and batch norm pass on; the branches of a residual sum get their
    shares; max-pool, ReLU, gates and whatever else keep their derivative.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]. It may be recurrent: what goes
        back in time through a `scan` follows the same rules, the recurrent and the
        input projection getting their shares of a sum.
      layer: name of a layer of [T', H', W', C'] after a ReLU; None takes `f.spec.tap`.
      contrastive: subtract the walk from a prediction layer of opposite weights, which
        leaves what speaks for this class rather than for any.
      score: what to explain; with "logit" the walk begins at the class with
        probability 1. The video study uses "prob".
      resize: show the map on the clip, linearly between the centres of the cells.

    Returns:
      `explain(clip, target) -> ExcitationMap`, which has no gradient of its own.

    Raises:
      ValueError: a missing or unknown layer (the nearest names are shown), one without
        extent in space and time; a contrastive walk without a prediction layer of its
        own.

    References:
      Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016,
      https://arxiv.org/abs/1608.00507; in time: Bargal et al., "Excitation Backprop for
      RNNs", CVPR 2018, https://arxiv.org/abs/1711.06778. Deviation: they send all that
      reaches a recurrent sum to its input projection.
    """
    return explainer(
        _excitation_backprop,
        f,
        single=True,
        modules=True,
        score=score,
        layer=chosen(f, layer),
        contrastive=contrastive,
        resize=resize,
    )


def _excitation_backprop(f, clip, target, *, score, layer, contrastive, resize):
    warn_of_unseen("excitation_backprop", unseen(f))
    seen = look(f, clip, target, score, layer, excitation(f))
    p = seen.gradient
    if contrastive:
        *before, head = products(f) or [None]
        if head is None or any(eqn is head for eqn in before):
            raise ValueError(
                "`f` must end in a convolution or matrix product with weights for "
                "`contrastive`, one that is not in a jitted function called twice."
            )
        other = look(f, clip, target, score, layer, excitation(f, inhibit=head))
        p = p - other.gradient
    cells = p.sum(-1)
    cells = jnp.maximum(cells, 0) if contrastive else cells
    values = on_clip(f, clip, layer, cells) if resize else cells
    a = seen.activation
    everything = jnp.abs(a).sum()
    negative = jnp.where(everything > 0, jnp.maximum(-a, 0).sum() / everything, 0)
    return _final(ExcitationMap(values, cells, negative))


@jax.custom_jvp
def _final(result):
    """Refuses to be differentiated: below the layer the rule would take part."""
    return result


@_final.defjvp
def _refuse(primals, tangents):
    raise TypeError(
        "excitation_backprop cannot be differentiated: take lrp, or jax.lax."
        "stop_gradient of its map."
    )
