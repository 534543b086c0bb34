"""Guided backpropagation: only positive signals pass a ReLU backward."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind
from jaxattr._warnings import warn_of_unseen
from jaxattr.rules._operations import required, unseen
from jaxattr.rules._rectifier import rectified, rectifier


class RuleAttribution(NamedTuple):
    """One signed number per voxel.

    Attributes:
      values: like the clip, [T, H, W, C], in float32 or wider.
    """

    values: Any


def guided_backprop(
    f: Network, *, score: Score = "logit"
) -> Callable[..., RuleAttribution]:
    r"""Attributes the score by a gradient that forgets negative signals at every ReLU.

    At a ReLU with input :math:`z` the cotangent :math:`g` becomes
    :math:`\max(g, 0)\,1[z > 0]`; everything else propagates as in a gradient. A leaky
    ReLU passes :math:`\max(g, 0)` times its slope.

    Its maps show edges of the clip nearly whatever the network has learnt, and it fails
    the sanity check by design: keep it as a negative control.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K], with
        ReLUs: `jax.nn.relu`, `jnp.maximum(x, 0)`, `jnp.where(x > 0, x, 0)`, relu6,
        leaky ReLU. Those inside a `custom_jvp` or `custom_vjp` are not seen.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> RuleAttribution`, raw and signed.

    Raises:
      ValueError: from the call, a network without a ReLU; what it has is named.

    References:
      Springenberg et al., "Striving for Simplicity", ICLR 2015 workshop,
      https://arxiv.org/abs/1412.6806; on what it shows: Nie, Zhang and Patel, ICML
      2018, https://arxiv.org/abs/1805.07039. At an input of exactly 0 nothing passes.
      Verified.
    """
    return explainer(_rectified_gradient, f, score=score, backward=_guided)


def deconvnet(f: Network, *, score: Score = "logit") -> Callable[..., RuleAttribution]:
    r"""Attributes the score by sending its cotangents through ReLUs themselves.

    At a ReLU the cotangent :math:`g` becomes :math:`\max(g, 0)`, whatever the input
    was; max-pooling keeps its switches. The clip enters through these alone.

    Args:
      f: network, as for `guided_backprop`.
      score: what to explain; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> RuleAttribution`, raw and signed.

    Raises:
      ValueError: from the call, a network without a ReLU; what it has is named.

    References:
      Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
      2014, https://arxiv.org/abs/1311.2901.
      Verified.
    """
    return explainer(_rectified_gradient, f, score=score, backward=_deconvnet)


def _guided(derivative, cotangent):
    return jnp.maximum(cotangent, 0) * derivative


def _deconvnet(derivative, cotangent):
    return jnp.maximum(cotangent, 0)


def guided_gradient(f, clip, target, *, score):
    """The attribution of a traced network, for methods made of it."""
    return _rectified_gradient(f, clip, target, score=score, backward=_guided).values


def _rectified_gradient(f, clip, target, *, score, backward):
    method = "guided_backprop" if backward is _guided else "deconvnet"
    required(
        f,
        lambda eqn, facts: rectifier(eqn, facts) is not None,
        f"`f` has no ReLU, and {method} changes nothing else: it would be the plain "
        "gradient.",
    )
    warn_of_unseen(method, unseen(f))
    s = bind(f.widened(rectified(backward)), clip, target, score)
    return RuleAttribution(jax.grad(s)(widen(clip)))
