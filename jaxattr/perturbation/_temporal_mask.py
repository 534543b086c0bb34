"""Temporal masks: which frames a network needs, found by freezing them.

The mask has one number per frame. It is optimised with a perturbation that can be
differentiated, such as freezing, and judged by playing the same frames backward too:
a network that only lost motion under freezing, not its direction, keeps its score.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxattr._clip import narrow, wide
from jaxattr._expectation import check_count, each
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, poison_of
from jaxattr.perturbation._geometry import mask_geometry
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._operators import OPERATORS
from jaxattr.perturbation._presets import check_choice, check_weights
from jaxattr.perturbation._reverse import reverse
from jaxattr.perturbation._reward import kept_score, mask_cost

_LOGIT = 5.0  # Start: the mask is 0.9933 or 0.0067.
_ENOUGH = 0.9  # Share of the full mask's effect that the start should keep.


class FrameScores(NamedTuple):
    """What a mask over frames does to the score.

    Attributes:
      length: [] sum of the mask, frames.
      perturbed: [] score with its frames perturbed; low where they are needed.
      reversed: [] score with its frames played backward.
    """

    length: jax.Array
    perturbed: jax.Array
    reversed: jax.Array


class TemporalMask(NamedTuple):
    """A mask over frames, and how far it is one of evidence.

    Attributes:
      values: [T, H, W], the mask at every pixel of its frame.
      mask: [T], inside (0, 1), 1 where the evidence is.
      original: [] score of the clip: a probability under a score of a softmax.
      soft: of the mask.
      binary: of the mask cut at 0.5; a soft mask shows averages of frames.
      history: course of the optimisation.
    """

    values: jax.Array
    mask: jax.Array
    original: jax.Array
    soft: FrameScores
    binary: FrameScores
    history: MaskHistory


def temporal_mask(
    f: Network,
    *,
    perturbation: str = "freeze",
    sparsity: float = 0.01,
    smoothness: float = 0.02,
    num_iterations: int = 300,
    learning_rate: float = 0.2,
    score: Score = "prob",
) -> Callable[..., TemporalMask]:
    r"""Finds the frames without which a network loses the target.

    Minimises :math:`s(x \text{ perturbed where } m) + \lambda_1 \sum_t m_t + \lambda_2
    \sum_{t=1}^{T-2} (|m_{t-1} - m_t|^3 + |m_{t+1} - m_t|^3)` over the logits of
    :math:`m \in (0, 1)^T` with Adam. It starts from a range of frames in the middle:
    the first one so short that perturbing it costs less than 0.9 of what perturbing
    all frames costs.

    Frozen frames repeat the last one shown, so the first frame has no effect and its
    mask goes to 0, and a mask from there on shows nothing but the first frame.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      perturbation: what masked frames become: "freeze", what was shown before; "blur",
        ever more of it; "mean" or "fade", 0 in network units; "clip_mean" of their
        channel; "median" over time of their pixel; "noise" of their channel's mean and
        spread.
      sparsity: :math:`\lambda_1`, in units of the score per frame.
      smoothness: :math:`\lambda_2`.
      num_iterations: gradients; T / 2 forward passes for the start come on top.
      learning_rate: of Adam, on the logits.
      score: what should be lost; see `jaxattr.Score`. With "log_prob", -log(1 - p) is
        minimised.

    Returns:
      `explain(clip, target) -> TemporalMask`.

    Raises:
      ValueError: an unknown `perturbation`, a negative weight, `num_iterations < 1`;
        from `explain`, a clip that is not one array [T, H, W, C].

    References:
      Mänttäri, Broomé, Folkesson and Kjellström, "Interpreting Video Features: A
      Comparison of 3D Convolutional Networks and Convolutional LSTM Networks", ACCV
      2020, https://arxiv.org/abs/2002.00367. From code: operators, objective (interior
      differences count twice), start and constants. Deviations: the cube root whose
      cube the code takes is left out, since its slope at 0 is not finite; the test for
      convergence, which never stops there, too.
    """
    check_choice("perturbation", perturbation, tuple(OPERATORS))
    check_count("num_iterations", num_iterations)
    weights = {"sparsity": sparsity, "smoothness": smoothness}
    check_weights(**weights, learning_rate=learning_rate)
    return explainer(
        _explain,
        f,
        _Numbers(sparsity, smoothness, learning_rate),
        single=True,
        perturbation=perturbation,
        num_iterations=num_iterations,
        score=score,
    )


class _Numbers(NamedTuple):
    sparsity: Any
    smoothness: Any
    learning_rate: Any


def _explain(f, clip, target, numbers, *, perturbation, num_iterations, score):
    dtype = wide(clip.dtype)
    numbers = jax.tree.map(lambda x: x.astype(dtype), numbers)
    shape = clip.shape[:3]
    frames = clip.astype(dtype)
    blur = mask_geometry(shape).blur
    shown = OPERATORS[perturbation](frames, blur)

    def show(keep):
        return shown(_on_pixels(keep, shape))

    report = kept_score(f, clip, target, score)

    def perturbed(mask):
        return report(narrow(show(1 - mask), clip))

    def scores(mask):
        backward = report(narrow(reverse(frames, mask), clip))
        return FrameScores(mask.sum(), perturbed(mask), backward)

    original = report(clip)
    start = _central(original, perturbed, shape[0], dtype)
    state, history = optimise(
        functools.partial(
            _objective,
            cost=functools.partial(mask_cost(f, clip, target, score, "delete"), show),
            numbers=numbers,
        ),
        _LOGIT * (2 * start - 1),
        optax.adam(numbers.learning_rate),
        lambda logits: logits,
        num_iterations=num_iterations,
    )
    mask = jax.nn.sigmoid(state.params)
    result = TemporalMask(
        values=_on_pixels(mask, shape),
        mask=mask,
        original=original,
        soft=scores(mask),
        binary=scores((mask > 0.5).astype(dtype)),
        history=history,
    )
    # The sign of a gradient of NaN would look like an answer.
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda x: x * poison.astype(x.dtype), result)


def _on_pixels(mask, shape):
    return jnp.broadcast_to(mask[:, None, None], shape)


def _objective(logits, iteration, *, cost, numbers):
    mask = jax.nn.sigmoid(logits)
    reward = cost(mask).astype(mask.dtype)
    size = numbers.sparsity * mask.sum()
    regulariser = size + numbers.smoothness * _roughness(mask)
    return reward + regulariser, MaskHistory(reward, regulariser)


def _roughness(mask):
    """Cubed differences of every inner frame to both neighbours."""
    cubes = jnp.abs(jnp.diff(mask)) ** 3
    return cubes[1:].sum() + cubes[:-1].sum()


def _central(original, perturbed, num_frames, dtype):
    """The first range of frames, shrinking about the middle, that is too short."""
    frame = jnp.arange(num_frames, dtype=jnp.int32)

    def window(i):
        return ((frame >= i) & (frame < num_frames - i)).astype(dtype)

    num = max(num_frames // 2, 1)
    drop = original - each(lambda i: perturbed(window(i)), num)
    # Where even the full mask changes nothing, the first shorter one is too short.
    share = drop / jnp.where(drop[0] == 0, 1, drop[0])
    index = jnp.arange(num, dtype=jnp.int32)
    short = ~(share >= _ENOUGH) & (index > 0)
    return window(jnp.where(short, index, num - 1).min())
