"""What a mask is rewarded for: keeping the target with it, losing it without it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxattr._clip import narrow, wide
from jaxattr._score import Network, Score, bind, reader

VARIANTS = ("preserve", "delete", "dual")


def mask_cost(
    f: Network, clip: jax.Array, target: Any, score: Score, variant: str
) -> Callable[[Callable[[jax.Array], jax.Array], jax.Array], jax.Array]:
    """Makes the cost of a mask, lower for a better one.

    With "log_prob" it is -log p of the clip that shows the mask ("preserve"),
    -log(1 - p) of the clip without it ("delete"), or their sum ("dual"); with any other
    score, the score negated for what should keep it and as it is for what should not;
    with "margin" this is the contrastive reward of the image paper.

    Args:
      f: network.
      clip: [T, H, W, C], for shape and dtype.
      target: what `score` takes.
      score: as in `jaxattr.Score`.
      variant: one of `VARIANTS`.

    Returns:
      `cost(show, mask) -> []`; `show(mask) -> [T, H, W, C]` perturbs the clip where a
      mask [T, H, W] is 0.
    """
    cost = output_cost(f, clip, target, score, variant)
    return lambda show, mask: cost(lambda m: f(narrow(show(m), clip)), mask)


def output_cost(
    f: Network, clip: jax.Array, target: Any, score: Score, variant: str
) -> Callable[[Callable[[jax.Array], Any], jax.Array], jax.Array]:
    """The same for a mask of anything; arguments as those of `mask_cost`.

    Returns:
      `cost(run, mask) -> []`; `run(mask)` is the output of the network under a mask.
    """
    kept = reader(f, clip, target, score)
    lost = kept
    if score == "log_prob":
        others = reader(f, clip, target, _log_prob_of_others)
        lost = lambda output: -others(output)  # noqa: E731

    def cost(run, mask):
        terms = []
        if variant != "delete":
            terms.append(-kept(run(mask)))
        if variant != "preserve":
            terms.append(lost(run(1 - mask)))
        return sum(terms)

    return cost


def kept_score(f: Network, clip: jax.Array, target: Any, score: Score):
    """The number reported for a mask, of the clip that shows it."""
    return bind(f, clip, target, reported(score))


def reported(score: Score) -> Score:
    """The score reported for a mask: probability where it is of a softmax."""
    is_softmax = score in ("logit", "prob", "log_prob", "margin")
    return "prob" if is_softmax else score


def _log_prob_of_others(logits, target):
    # log(1 - p) from the other logits: 1 - p itself rounds to 0 for a sure network.
    logits = logits.astype(wide(logits.dtype))
    target = jnp.asarray(target)
    index = jnp.arange(logits.size, dtype=target.dtype)
    valid = (target >= 0) & (target < logits.size)
    others = jnp.where(index == target, -jnp.inf, logits)
    log_prob = jax.nn.logsumexp(others) - jax.nn.logsumexp(logits)
    return log_prob * jnp.where(valid, 1, jnp.nan).astype(logits.dtype)
