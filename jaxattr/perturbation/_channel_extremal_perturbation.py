"""Extremal perturbations of a layer: the few channels that suffice for the target.

The mask has one number per channel, and nothing of it is smooth: channels have no
neighbours. All else is that of `extremal_perturbation`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr._clip import wide
from jaxattr._expectation import check_chunk
from jaxattr._explainer import explainer
from jaxattr._score import Network, Score, poison_of, reader
from jaxattr._tap import activation, chosen, on_clip, struct_of
from jaxattr.perturbation._area import area_count, area_term
from jaxattr.perturbation._mask_loop import MaskHistory, optimise
from jaxattr.perturbation._path_gradient import path_gradient
from jaxattr.perturbation._presets import ExtremalConfig, check_choice, resolve
from jaxattr.perturbation._reward import VARIANTS, output_cost, reported
from jaxattr.perturbation._several_areas import (
    check_areas,
    make_optimiser,
    over_areas,
    selection,
    tabulate,
)
from jaxattr.perturbation._warm_start import start_high


class ChannelMasks(NamedTuple):
    """Masks of a layer's channels, and how far each does what it was made for.

    Attributes:
      values: [T, H, W] where on the clip these channels are active: the layer's
        activation times the mask, summed over channels and areas, in its own units.
      cells: [T', H', W'] the same as the layer has it.
      channels: [A, C'] masks, 0 to 1, 1 where the evidence is; as seen by the last
        forward pass.
      areas: [A] as asked for, shares of the channels.
      kept: [A] probability of the target when only these channels pass (with a sigmoid
        or callable score, that score).
      area_reached: [A] mean of each mask.
      history: course of the optimisation, [A, num_iterations].
    """

    values: jax.Array
    cells: jax.Array
    channels: jax.Array
    areas: jax.Array
    kept: jax.Array
    area_reached: jax.Array
    history: MaskHistory


def channel_extremal_perturbation(
    f: Network,
    layer: str | None = None,
    *,
    areas: Sequence[float],
    preset: str | ExtremalConfig = "fast",
    variant: str = "preserve",
    num_iterations: int | None = None,
    ties: str | None = None,
    score: Score = "log_prob",
    chunk: int | None = None,
) -> Callable[..., ChannelMasks]:
    r"""Finds, for each area, the channels of a layer that best keep the target.

    Where the layer has the activation :math:`\Phi`, the network goes on with :math:`m_k
    \Phi_k` for every channel :math:`k`, at all times and places. For every area
    :math:`a`, minimises :math:`\rho - \log p(m \Phi) + \lambda_t R_a(m)`, with
    :math:`R_a` the mean squared distance of the sorted mask to a step of area
    :math:`a`: of :math:`C'` channels, :math:`C' - \lfloor C' (1 - a) \rfloor` are kept.
    Areas do not influence each other.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of a layer of [T', H', W', C'], as `jaxattr.list_taps` shows it; None
        takes `f.spec.tap`. Inside a `scan` the mask meets every step.
      areas: shares of the channels to keep, each in (0, 1).
      preset: "fast", 40 iterations after a start from 5 gradients; "paper", 1200 of the
        optimiser published for masks of clips, whose first step is up to :math:`30 /
        C'`: of use to layers of some hundred channels; or an `ExtremalConfig`, of which
        sizes and core do not matter here.
      variant: "preserve" keeps the target with these channels, "delete" loses it
        without, "dual" both. The mask is 1 where the evidence is in all of them.
      num_iterations: instead of the preset's.
      ties: which of equal channels count as the largest, as in
        `extremal_perturbation`: "shuffle" (needs a key), "expected", or None for the
        preset's.
      score: what to keep, as in `extremal_perturbation`; "margin" is the contrastive
        reward.
      chunk: areas optimised side by side; None takes all. Changes memory and rounding.

    Returns:
      `explain(clip, target, *, key=None) -> ChannelMasks`.

    Raises:
      ValueError: areas empty or outside (0, 1), an unknown choice; from `explain`, a
        missing key, an unknown layer (the nearest names are shown), one without extent
        in space and time.

    References:
      Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations
      and Smooth Masks", ICCV 2019, https://arxiv.org/abs/1910.08485, on intermediate
      layers. Our reading: schedules and weights are those of masks of clips.
    """
    areas = check_areas(areas)
    check_chunk(chunk)
    check_choice("variant", variant, VARIANTS)
    config = resolve(preset, "volume", num_iterations=num_iterations, ties=ties)
    return explainer(
        _explain,
        f,
        tabulate(areas, config),
        random=config.ties == "shuffle",
        single=True,
        modules=True,
        layer=chosen(f, layer),
        variant=variant,
        optimiser=config.optimiser,
        tolerance=config.tolerance,
        score=score,
        chunk=chunk,
    )


def _explain(
    f,
    clip,
    target,
    numbers,
    *,
    layer,
    variant,
    optimiser,
    tolerance,
    score,
    chunk,
    key=None,
):
    dtype = wide(clip.dtype)
    numbers = numbers.cast(dtype)
    struct = struct_of(f, layer)
    num_channels = struct.shape[-1]
    cost = output_cost(f, clip, target, score, variant)
    read = reader(f, clip, target, reported(score))
    rule = make_optimiser(optimiser, numbers.schedule.learning_rate)

    def run(mask):
        gate = jnp.broadcast_to(mask.astype(struct.dtype), struct.shape)
        return f.tapped(clip, {layer: gate}, put=jnp.multiply)[0]

    def objective(mask, iteration, count):
        reward = numbers.reward_weight * cost(run, mask).astype(dtype)
        turn = None if key is None else jax.random.fold_in(key, iteration)
        area = area_term(mask, count, selection(turn))
        regulariser = numbers.schedule.area_weight[iteration] * area
        return reward + regulariser, MaskHistory(reward, regulariser)

    def optimise_mask(start, digits):
        count = area_count(digits, num_channels)
        state, history = optimise(
            lambda mask, iteration: objective(mask, iteration, count),
            start,
            rule,
            lambda mask: jnp.clip(mask, 0, 1),
            num_iterations=numbers.schedule.area_weight.size,
            tolerance=tolerance,
        )
        return state.evaluated, read(run(state.evaluated)), history

    keep = output_cost(f, clip, target, score, "preserve")
    starts = _starts(lambda mask: -keep(run, mask), num_channels, numbers)
    channels, kept, history = over_areas(optimise_mask, (starts, numbers.digits), chunk)
    seen = activation(f, clip, layer)
    cells = seen @ channels.sum(0).astype(seen.dtype)
    result = ChannelMasks(
        values=on_clip(f, clip, layer, cells),
        cells=cells,
        channels=channels,
        areas=numbers.areas,
        kept=kept,
        area_reached=channels.mean(1),
        history=history,
    )
    # A mask that has seen no gradient yet, or none at all, would look like an answer.
    poison = poison_of(f, clip, target, score)
    return jax.tree.map(lambda x: x * poison.astype(x.dtype), result)


def _starts(gain, num_channels, numbers):
    """[A, C']: ones, or high where the score rises most on the way to them."""
    if not numbers.warm_levels.size:
        shape = (numbers.areas.size, num_channels)
        return jnp.ones(shape, numbers.areas.dtype)
    rise = path_gradient(gain, (num_channels,), numbers.warm_levels)
    evidence = jnp.maximum(rise, 0)
    return jax.vmap(lambda digits: start_high(evidence, digits, numbers.warm_values))(
        numbers.warm_digits
    )
