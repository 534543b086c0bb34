"""Perceptual ball: the nearest clip, to the network's own eye, that is another class.

No mask: the clip itself is optimised. An adversarial change would be spread thinly;
holding on to the activations of hidden layers confines it to what matters.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxattr._clip import narrow, wide, widen
from jaxattr._expectation import check_count
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, bind, poison_of, reader
from jaxattr._tap import chosen, unknown
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._presets import check_weights


class PerceptualBall(NamedTuple):
    """How a clip has to change to lose the target.

    Attributes:
      values: [T, H, W, C] signed change of the clip, network units.
      changed: [T, H, W, C] the clip so changed.
      original: [] score of the clip.
      reached: [] score of the changed clip; it should be at `level`.
      distance: [] mean squared change of the clip.
      perceptual: [] mean squared change of each layer, summed over layers.
      history: course of the optimisation: the squared distance to `level`, and the
        two distances as weighted.
    """

    values: jax.Array
    changed: jax.Array
    original: jax.Array
    reached: jax.Array
    distance: jax.Array
    perceptual: jax.Array
    history: MaskHistory


def perceptual_ball(
    f: Network,
    *,
    layers: Sequence[str] | None = None,
    level: float = -2.0,
    perceptual: float = 1e4,
    proximity: float = 1.0,
    num_iterations: int = 100,
    score: Score = "margin",
) -> Callable[..., PerceptualBall]:
    r"""Finds the least change, in clip and layers, that brings the score to a level.

    Minimises :math:`\gamma \sum_l \overline{(\phi_l(x') - \phi_l(x))^2} + \sigma
    \overline{(x' - x)^2} + (s(x') - v)^2` over clips :math:`x'` from :math:`x` on, with
    L-BFGS. Distances are means over elements, so weights do not depend on the size of
    a clip. What changes is what speaks for the target. For the map of the paper take
    the root of the mean of the squared `values` over channels, blurred by 2 pixels.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layers: names of the layers :math:`\phi_l`, as `jaxattr.list_taps` shows them;
        None takes the one the network recommends. More of them concentrate the change.
      level: :math:`v`, in units of the score. With the default score, by how much the
        best other class should win, as a negative number.
      perceptual: :math:`\gamma`.
      proximity: :math:`\sigma`.
      num_iterations: of L-BFGS, of about one gradient each for the direction and one or
        more for its line search.
      score: what is brought to the level; see `jaxattr.Score`.

    Returns:
      `explain(clip, target) -> PerceptualBall`.

    Raises:
      ValueError: a negative weight, a `level` that is not finite, `num_iterations < 1`;
        no layers and a network that recommends none; from `explain`, an unknown layer,
        a clip that is not one array [T, H, W, C].

    References:
      Elliott, Law and Russell, "Explaining Classifiers using Adversarial Perturbations
      on the Perceptual Ball", CVPR 2021, https://arxiv.org/abs/1912.09405. From code.
      Deviation: optax's L-BFGS with a line search, which the code does without: it
      cannot diverge, and takes more gradients per iteration.
    """
    check_count("num_iterations", num_iterations)
    check_weights(perceptual=perceptual, proximity=proximity)
    if not (isinstance(level, numbers.Real) and math.isfinite(level)):
        raise ValueError(f"`level` must be a finite number, got {level!r}.")
    if layers is None:
        layers = (chosen(f, None, "layers"),)
    elif isinstance(layers, str) or not isinstance(layers, Sequence):
        raise ValueError(
            f'`layers` must be a sequence of names such as ("{layers}",), got '
            f"{layers!r}."
        )
    return explainer(
        _explain,
        f,
        _Numbers(level, perceptual, proximity),
        single=True,
        modules=True,
        layers=tuple(layers),
        num_iterations=num_iterations,
        score=score,
    )


class _Numbers(NamedTuple):
    level: Any
    perceptual: Any
    proximity: Any


def _explain(f, clip, target, numbers, *, layers, num_iterations, score):
    dtype = wide(clip.dtype)
    numbers = jax.tree.map(lambda x: x.astype(dtype), numbers)
    known = f.tap_axes()
    for layer in layers:
        if layer not in known:
            raise unknown("layers", layer, known, f.absence(layer))
    read = reader(f, clip, target, score)
    start = clip.astype(dtype)

    def look(x):
        output, taps = f.tapped(narrow(x, clip))
        return read(output).astype(dtype), [widen(taps[layer]) for layer in layers]

    before = look(start)[1]

    def distances(x, after):
        pairs = zip(after, before, strict=True)
        perceptual = sum(((a - b) ** 2).mean().astype(dtype) for a, b in pairs)
        return ((x - start) ** 2).mean(), jnp.asarray(perceptual, dtype)

    def objective(x, iteration):
        value, after = look(x)
        distance, perceptual = distances(x, after)
        reward = (value - numbers.level) ** 2
        near = numbers.perceptual * perceptual + numbers.proximity * distance
        return reward + near, MaskHistory(reward, near)

    state, history = optimise(
        objective, start, optax.lbfgs(), lambda x: x, num_iterations=num_iterations
    )
    reached, after = look(state.params)
    distance, perceptual = distances(state.params, after)
    result = PerceptualBall(
        values=state.params - start,
        changed=state.params,
        original=bind(f, clip, target, score)(clip),
        reached=reached,
        distance=distance,
        perceptual=perceptual,
        history=history,
    )
    # A line search that finds nothing but NaN does not move.
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda x: x * poison.astype(x.dtype), result)
