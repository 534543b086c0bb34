"""Activation maximisation: the clip that a network likes best for a target."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxattr._clip import narrow, wide
from jaxattr._expectation import check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind, poison_of
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._presets import check_choice, check_weights
from jaxattr.perturbation._total_variation import total_variation

Start = Literal["noise", "clip"]


class MaximisedActivation(NamedTuple):
    """A clip made by the network's own gradient.

    Attributes:
      values: [T, H, W, C], network units.
      score: [] of it.
      history: course of the optimisation, [num_iterations]; the reward is minus the
        score.
    """

    values: jax.Array
    score: jax.Array
    history: MaskHistory


def activation_maximisation(
    f: Network,
    *,
    start: Start = "noise",
    noise: float = 0.1,
    decay: float = 0.1,
    smoothness: float = 1.0,
    time_weight: float = 1.0,
    num_iterations: int = 256,
    learning_rate: float = 0.05,
    score: Score = "logit",
) -> Callable[..., MaximisedActivation]:
    r"""Makes a clip from nothing that has the highest score.

    Minimises :math:`-s(x) + \lambda_2 \overline{x^2} + \lambda_{TV} (\omega
    \overline{\partial_t x^2} + \overline{\partial_y x^2} + \overline{\partial_x x^2})`
    over the clip :math:`x` with Adam. It shows what a class looks like to the network,
    not what decided on a clip.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      start: "noise" around 0 in network units; "clip", what it is called with.
      noise: standard deviation of the start, network units; unused under "clip".
      decay: :math:`\lambda_2`, of the mean square.
      smoothness: :math:`\lambda_{TV}`, of the mean squared differences.
      time_weight: :math:`\omega`; 0 lets every frame be as it is.
      num_iterations: gradients.
      learning_rate: of Adam, network units.
      score: what is maximised; see `jaxattr.Score`.

    Returns:
      `make(clip, target, *, key=None) -> MaximisedActivation`. Under "noise" the clip
      gives shape and dtype alone, and a key is needed. Where `f` has a `spec`, pixels
      stay between black and white.

    Raises:
      ValueError: an unknown `start`, a negative weight, `num_iterations < 1`; from
        `make`, a missing key, a clip that is not one array [T, H, W, C].

    References:
      Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", ICLR 2014
      workshop, https://arxiv.org/abs/1312.6034, section 2; the total variation in space
      and time is our reading of Mahendran and Vedaldi, CVPR 2015.
      Verified but for that.
    """
    check_choice("start", start, get_args(Start))
    check_count("num_iterations", num_iterations)
    weights = {"decay": decay, "smoothness": smoothness, "time_weight": time_weight}
    check_weights(**weights, noise=noise, learning_rate=learning_rate)
    return explainer(
        _make,
        f,
        _Numbers(noise, decay, smoothness, time_weight, learning_rate),
        _range(f),
        random=start == "noise",
        single=True,
        start=start,
        num_iterations=num_iterations,
        score=score,
    )


class _Numbers(NamedTuple):
    noise: Any
    decay: Any
    smoothness: Any
    time_weight: Any
    learning_rate: Any


def _range(f):
    """Black and white in network units, each [C] or a number."""
    spec = getattr(f, "spec", None)
    if spec is None:
        return -np.float64(np.inf), np.float64(np.inf)
    mean, std = (np.asarray(v, np.float64) for v in (spec.mean, spec.std))
    return -mean / std, (1 - mean) / std


def _make(f, clip, target, numbers, bounds, *, start, num_iterations, score, key=None):
    dtype = wide(clip.dtype)
    numbers = jax.tree.map(lambda x: x.astype(dtype), numbers)
    low, high = (jnp.broadcast_to(b.astype(dtype), clip.shape) for b in bounds)
    s = bind(f, clip, target, score)

    def objective(x, iteration):
        reward = -s(narrow(x, clip)).astype(dtype)
        rough = jax.vmap(_roughness, (3, None))(x, numbers.time_weight).mean()
        regulariser = numbers.decay * (x**2).mean() + numbers.smoothness * rough
        return reward + regulariser, MaskHistory(reward, regulariser)

    x = clip.astype(dtype)
    if start == "noise":
        x = numbers.noise * jax.random.normal(key, clip.shape, dtype)
    state, history = optimise(
        objective,
        jnp.clip(x, low, high),
        optax.adam(numbers.learning_rate),
        lambda x: jnp.clip(x, low, high),
        num_iterations=num_iterations,
    )
    made = state.params
    result = MaximisedActivation(made, s(narrow(made, clip)), history)
    # Adam's steps of a NaN gradient are NaN, but clipped they would be black.
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda leaf: leaf * poison.astype(leaf.dtype), result)


def _roughness(channel, time_weight):
    return total_variation(channel, norm="mean", time_weight=time_weight)
