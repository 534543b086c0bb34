"""Excitation backpropagation: which excitatory paths lead to the class."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._explainer import explainer
from jaxattr._score import Network, Score
from jaxattr._tap import chosen, look, on_clip
from jaxattr._warnings import warn_of_unseen
from jaxattr.rules._excitation import excitation
from jaxattr.rules._operations import products, unseen
from jaxattr.rules._recurrence import splits

Recurrent = Literal["proportional", "input"]


class ExcitationMap(NamedTuple):
    """Probabilities of the cells of a layer.

    Attributes:
      values: [T, H, W], or [T', H', W'] with resize=False; float32 or wider.
      cells: [T', H', W'] probabilities, which sum to 1 in a network of products, sums,
        pools and ReLUs where no unit on the way was dead; gates, soft-max and other
        functions keep their derivative and with it no sum, unless normalise=True, which
        makes it T'. With contrastive=True the difference of two, where it is positive.
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
    recurrent: Recurrent = "proportional",
    normalise: bool = False,
    score: Score = "logit",
    resize: bool = True,
) -> Callable[..., ExcitationMap]:
    r"""Attributes the score to the cells of a layer by a winner-take-all process.

    From the class downward, unit :math:`j` gets :math:`P_j = a_j \sum_k w^+_{jk} P_k /
    \sum_i a_i w^+_{ik}`: a random walk against the excitatory connections. Pools go
    likewise; biases and batch norm pass on; the branches of a residual sum get their
    shares; max-pool, ReLU, gates and whatever else keep their derivative.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K]. It may be recurrent.
      layer: name of a layer of [T', H', W', C'] after a ReLU; None takes `f.spec.tap`.
      contrastive: subtract the walk from a prediction layer of opposite weights, which
        leaves what speaks for this class rather than for any.
      recurrent: how the sum of an input and a recurrent projection in a `scan` splits:
        "proportional" gives each its share, as any sum does. "input" is EB-R as
        published: all goes to the input, so that a signal goes back in time through
        the cell of an LSTM alone, whose sum and gates keep their derivative.
      normalise: scale each walk, of which "contrastive" has two, to a sum of T', one
        for each step of the layer on average; EB-R does so, since the derivatives of
        gates keep no sum. What a frame gets is then its part in the decision.
      score: what to explain; with "logit" the walk begins at the class with
        probability 1. The video study uses "prob".
      resize: show the map on the clip, linearly between the centres of the cells.

    Returns:
      `explain(clip, target) -> ExcitationMap`, which has no gradient of its own. If
      its `negative` is above 0 there is an `ExplanationWarning`, as there is of a head
      that ends in softmax. Where the values are not known yet, under `jit` and `vmap`,
      nothing is warned of: read the field.

    Raises:
      ValueError: a missing or unknown layer (the nearest names are shown), one without
        extent in space and time; a network without a layer with weights (what it has
        is named); a contrastive walk without a prediction layer of its own; an unknown
        `recurrent`, or "input" without such a sum.

    References:
      Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016,
      https://arxiv.org/abs/1608.00507; in time: Bargal et al., "Excitation Backprop for
      RNNs" (EB-R), CVPR 2018, https://arxiv.org/abs/1711.06778, which is
      recurrent="input", normalise=True on an LSTM of ReLUs. Deviation: they take the
      sum of a walk above the frames' CNN; at `layer` it is the same where no unit
      between is dead.
      Verified; in time from code.
    """
    if recurrent not in get_args(Recurrent):
        raise ValueError(
            f"`recurrent` must be one of {get_args(Recurrent)}, got {recurrent!r}."
        )
    return explainer(
        _excitation_backprop,
        f,
        single=True,
        modules=True,
        score=score,
        layer=chosen(f, layer),
        contrastive=contrastive,
        recurrent=recurrent,
        normalise=normalise,
        resize=resize,
    )


def _excitation_backprop(
    f, clip, target, *, score, layer, contrastive, recurrent, normalise, resize
):
    layers = products(f, "excitation_backprop")
    warn_of_unseen("excitation_backprop", unseen(f))
    sums = splits(f) if recurrent == "input" else {}

    def walk(inhibit=None):
        seen = look(f, clip, target, score, layer, excitation(f, inhibit, sums))
        p = _normalised(seen.gradient) if normalise else seen.gradient
        return p, seen.activation

    p, a = walk()
    if contrastive:
        if len(jax.tree.leaves(f.output)) != 1:
            raise ValueError(
                "`contrastive` needs a network with one prediction layer: `f` has "
                f"{len(jax.tree.leaves(f.output))} outputs."
            )
        *before, head = layers
        if any(eqn is head for eqn in before):
            raise ValueError(
                "`f` must end in a convolution or matrix product with weights for "
                "`contrastive`, one that is not in a jitted function called twice."
            )
        p = p - walk(inhibit=head)[0]
    cells = p.sum(-1)
    cells = jnp.maximum(cells, 0) if contrastive else cells
    values = on_clip(f, clip, layer, cells) if resize else cells
    everything = jnp.abs(a).sum()
    negative = jnp.where(everything > 0, jnp.maximum(-a, 0).sum() / everything, 0)
    return _final(ExcitationMap(values, cells, negative))


def _normalised(p):
    """T' in all, of the sign it had; 0 where nothing arrived."""
    total = jnp.abs(p.sum())
    return len(p) * jnp.where(total == 0, 0, p / jnp.where(total == 0, 1, total))


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
