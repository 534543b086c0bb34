"""FGVis: a mask for every voxel and channel, filtered against adversarial evidence."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxattr._clip import narrow, wide
from jaxattr._expectation import check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, poison_of
from jaxattr._substitute import check_substitute
from jaxattr.perturbation._hiding import BY_VOXEL, hiding_wide
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._optimisers import scale_by_largest
from jaxattr.perturbation._presets import check_choice, check_weights
from jaxattr.perturbation._reward import kept_score, mask_cost
from jaxattr.rules._gradient_filter import activations, bounded, inside

Game = Literal["preservation", "deletion", "generation", "repression"]

_LEARNING_RATE = 0.1  # No entry of the mask moves by more in one iteration.
_SEARCHED = (1e-4, 1e3)  # Sparsities; on 224 x 224 x 3 the range that is published.
_COMPARABLE = 0.05  # Probability that an explanation may lose.


class FineExplanation(NamedTuple):
    """The evidence of FGVis, and how much of the target it carries.

    Attributes:
      values: [T, H, W, C] in 0..1, 1 where the evidence is, in every game.
      explanation: clip with the evidence shown and everything else hidden, in the
        network's units: an input like any other.
      kept: [] probability of the target for the explanation (with a sigmoid or
        callable score, that score).
      lost: [] the same for the clip without the evidence.
      original: [] the same for the clip itself.
      sparsity: [] as given or found.
      beyond: [L] share of the units of each non-linearity that the optimised clip
        drives beyond their bounds, in the order of the program; None where there are
        no bounds.
      history: course of the optimisation, [num_iterations].
      undefended: the same without the filter, under defend="both"; else None.
    """

    values: jax.Array
    explanation: jax.Array
    kept: jax.Array
    lost: jax.Array
    original: jax.Array
    sparsity: jax.Array
    beyond: jax.Array | None
    history: MaskHistory
    undefended: Any


def fgvis(
    f: Network,
    *,
    game: Game = "preservation",
    sparsity: float | None = None,
    defend: bool | Literal["both"] = True,
    substitute: Any = None,
    coupling: float = 0.0,
    noise: float = 0.1,
    num_iterations: int = 500,
    num_searches: int = 12,
    score: Score | None = None,
) -> Callable[..., FineExplanation]:
    r"""Finds the voxels, channel by channel, that make the network decide (FGVis).

    A mask :math:`v` of the clip's own shape is optimised without any smoothing. With
    :math:`b` what takes the place of hidden voxels, it minimises

    - "preservation" and "generation": :math:`-\log p(v x + (1 - v) b) + \lambda
      \overline{v}`, from ones and from zeros;
    - "deletion" and "repression": :math:`p((1 - v) x + v b) + \lambda \overline{v}`,
      from zeros and from ones.

    So fine a mask could write adversarial evidence: patterns of few voxels that excite
    units which the clip does not. The gradient filter (`jaxattr.rules.gradient_filter`)
    works against it without a parameter; it bounds each unit, not what they add up to.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      game: what is optimised, and from where.
      sparsity: :math:`\lambda`, of the mean over voxels, so that it does not depend on
        the clip's size. None searches, by `num_searches` halvings between 1e-4 and
        1000 on a logarithmic scale, the largest with which the explanation keeps the
        clip's probability but for 0.05 ("preservation", "generation") or the rest is
        left with at most 0.05; of a sigmoid or callable score, 0.05 of its own units,
        which say little of a difference of logits (`jaxattr.contrast`): give a sparsity
        there.
      defend: whether to filter; "both" does it with and without.
      substitute: :math:`b`, see `jaxattr.metrics.insertion`, or "freeze", what was
        shown there before; None is black where the network's `spec` says what that is,
        so that no colour arises which the clip does not have, else 0 in network units.
      coupling: weight of the mean squared difference between the masks of consecutive
        frames; 0 leaves every frame to itself.
      noise: standard deviation, in network units, of what is added to the clip at every
        iteration; with 0 no key is needed.
      num_iterations: gradients for one sparsity.
      num_searches: sparsities tried where none is given.
      score: what to explain; see `jaxattr.Score`. None takes "log_prob" for what should
        keep the target and "prob" for what should lose it, which is bounded.

    Returns:
      `explain(clip, target, *, key=None) -> FineExplanation`.

    Raises:
      ValueError: an unknown choice, a negative number; from `explain`, a missing key, a
        clip that is not one array [T, H, W, C], a network to defend without a
        non-linearity that can be seen.

    References:
      Wagner et al., "Interpretable and Fine-Grained Visual Explanations for
      Convolutional Neural Networks", CVPR 2019, https://arxiv.org/abs/1908.02686. From
      code: plain gradient descent by steps of 0.1 over the largest entry. Our reading:
      the games, the search for a sparsity, and the coupling of frames. Left out: the
      early stop of the published deletion.
    """
    check_choice("game", game, get_args(Game))
    if not (isinstance(defend, (bool, np.bool_)) or defend == "both"):
        raise ValueError(f"`defend` must be True, False or 'both', got {defend!r}.")
    check_weights(noise=noise, coupling=coupling)
    if sparsity is not None:
        check_weights(sparsity=sparsity)
    check_count("num_iterations", num_iterations)
    check_count("num_searches", num_searches)
    keeps = game in ("preservation", "generation")
    if score is None:
        score = "log_prob" if keeps else "prob"
    if substitute is None:
        substitute = "mean" if getattr(f, "spec", None) is None else "black"
    hidden, value = check_substitute(substitute, f, also=BY_VOXEL)
    return explainer(
        _explain,
        f,
        value,
        np.log(_SEARCHED) if sparsity is None else np.float64(sparsity),
        np.float64(coupling),
        np.float64(noise),
        random=bool(noise > 0),
        single=True,
        score=score,
        hidden=hidden,
        variant="preserve" if keeps else "delete",
        full=game in ("preservation", "repression"),
        defend="both" if defend == "both" else bool(defend),
        num_iterations=num_iterations,
        num_searches=num_searches,
    )


def _explain(
    f,
    clip,
    target,
    value,
    sparsity,
    coupling,
    noise,
    *,
    score,
    hidden,
    variant,
    full,
    defend,
    num_iterations,
    num_searches,
    key=None,
):
    dtype = wide(clip.dtype)
    sparsity, coupling, noise = (n.astype(dtype) for n in (sparsity, coupling, noise))
    probability = kept_score(f, clip, target, score)
    show = hiding_wide(hidden, value, clip)
    bounds, named = activations(f, clip) if defend else (None, None)
    optimiser = optax.chain(scale_by_largest(), optax.scale(-_LEARNING_RATE))
    start = jnp.full(clip.shape, 1.0 if full else 0.0, dtype)

    def run(network, weight):
        cost = mask_cost(network, clip, target, score, variant)

        def objective(mask, iteration):
            seen = functools.partial(_noisy, show, noise, key, iteration)
            reward = cost(seen, mask).astype(dtype)
            jumps = ((mask[1:] - mask[:-1]) ** 2).sum() / mask.size
            regulariser = weight * mask.mean() + coupling * jumps
            return reward + regulariser, MaskHistory(reward, regulariser)

        state, history = optimise(
            objective,
            start,
            optimiser,
            lambda mask: jnp.clip(mask, 0, 1),
            num_iterations=num_iterations,
        )
        return state.params, history

    def result(network):
        if sparsity.ndim:
            enough = _enough(probability, clip, variant, show)
            one = functools.partial(run, network)
            found = _search(one, enough, sparsity, num_searches)
        else:
            found = *run(network, sparsity), sparsity
        mask, history, weight = found
        explanation, rest = (narrow(show(m), clip) for m in (mask, 1 - mask))
        optimised = explanation if variant == "preserve" else rest
        return FineExplanation(
            values=mask,
            explanation=explanation,
            kept=probability(explanation),
            lost=probability(rest),
            original=probability(clip),
            sparsity=weight,
            beyond=_beyond(named, optimised, bounds) if defend else None,
            history=history,
            undefended=None,
        )

    found = result(bounded(bounds, named) if defend else f)
    if defend == "both":
        found = found._replace(undefended=result(f))
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda leaf: leaf * poison.astype(leaf.dtype), found)


def _noisy(show, noise, key, iteration, mask):
    shown = show(mask)
    if key is None:
        return shown
    pattern = jax.random.fold_in(key, iteration)
    return shown + noise * jax.random.normal(pattern, shown.shape, shown.dtype)


def _enough(probability, clip, variant, show):
    """Whether a mask still does what it is for, as a function of the mask."""
    if variant == "preserve":
        least = probability(clip) - _COMPARABLE
        return lambda mask: probability(narrow(show(mask), clip)) >= least
    return lambda mask: probability(narrow(show(1 - mask), clip)) <= _COMPARABLE


def _search(run, enough, span, num):
    """The run of the largest sparsity that is enough, else of the smallest tried."""

    def halve(carry, _):
        low, high, best, found = carry
        middle = (low + high) / 2
        mask, history = run(jnp.exp(middle))
        good = enough(mask)
        low, high = jnp.where(good, middle, low), jnp.where(good, high, middle)
        new = mask, history, jnp.exp(middle)
        best = jax.tree.map(lambda n, o: jnp.where(good | ~found, n, o), new, best)
        return (low, high, best, found | good), None

    shapes = jax.eval_shape(run, span[0])
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (*shapes, span[0]))
    carry = span[0], span[1], empty, jnp.zeros((), bool)
    return jax.lax.scan(halve, carry, length=num)[0][2]


def _beyond(named, clip, bounds):
    taps = named.tapped(clip)[1]
    shares = [(~inside(taps[name], b)).mean() for name, b in bounds.items()]
    return jnp.stack([share.astype(wide(clip.dtype)) for share in shares])
