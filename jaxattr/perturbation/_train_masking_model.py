"""Trains a masking model: first what to look for, then how to mask it."""

import functools
import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxattr._clip import wide
from jaxattr._expectation import check_count
from jaxattr._explainer import check_key, unbound
from jaxattr._score import Network, num_classes
from jaxattr.perturbation._init_masking_model import init_masking_model
from jaxattr.perturbation._masking_batches import check_targets, endless
from jaxattr.perturbation._masking_config import MaskingConfig
from jaxattr.perturbation._masking_model import check_fit, check_params
from jaxattr.perturbation._masking_network import Params, scales
from jaxattr.perturbation._masking_objective import (
    Costs,
    decoder_objective,
    selector_objective,
)
from jaxattr.program import split, trace


class MaskingHistory(NamedTuple):
    """Course of a training: of every step, means over its clips.

    Attributes:
      existence: [selector_steps] cross-entropy of the selector in nats, of a present or
        an absent class; 0.693 knows nothing.
      preserver: [num_steps] weighted, what the clip that shows the mask lacks.
      destroyer: [num_steps] what the clip without it has left.
      area: [num_steps] weighted area term.
      smoothness: [num_steps] weighted smoothness term.
      present: [num_steps] mean mask of the classes that are there.
      absent: [num_steps] of those that are not, NaN in a step without any: it should
        fall to about 0.
    """

    existence: np.ndarray
    preserver: np.ndarray
    destroyer: np.ndarray
    area: np.ndarray
    smoothness: np.ndarray
    present: np.ndarray
    absent: np.ndarray


class TrainedMaskingModel(NamedTuple):
    """A masking model and how it came about.

    Attributes:
      params: for `jaxattr.masking_model`; nested dicts of arrays.
      history: of the two parts of the training.
    """

    params: Params
    history: MaskingHistory


def train_masking_model(
    f: Network,
    batches: Iterable[tuple[Any, Any]],
    *,
    num_steps: int,
    key: jax.Array,
    selector_steps: int | None = None,
    params: Params | None = None,
    config: MaskingConfig | None = None,
    **settings: Any,
) -> TrainedMaskingModel:
    r"""Teaches a masking model to mask what a frozen network decides by.

    First the selector learns, by cross-entropy, which classes are in a clip. Then the
    decoder learns masks :math:`m`: with :math:`A` a random alternative to the clip
    :math:`x`, the network should see the class :math:`c` in :math:`m x + (1 - m) A`
    (preserver, by a lead of 1 logit) and another class in :math:`(1 - m) x + m A`
    (destroyer, by a lead of 5), with a mask that is small, :math:`8 \overline{(m + 5
    \cdot 10^{-4})^{0.3}}`, and smooth in space and time. Asked for a class that is
    absent, with the roles of the two clips exchanged, it learns an empty mask.

    The network is never changed. Memory does not grow with the steps.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      batches: yields (clips [B, T, H, W, C], targets [B]), all of one shape; started
        again when it ends. Targets are the classes shown: labels, or the network's own
        answers.
      num_steps: updates of the decoder, of two gradients through the network each.
      key: decides the start and all that is random on the way.
      selector_steps: updates of the selector before, forward passes only; None is as
        many.
      params: where to start, instead of `perturbation.init_masking_model` on the
        first batch.
      config: losses, alternatives, learning rate; None is `MaskingConfig()`.
      **settings: `taps` and `channels` of `perturbation.init_masking_model`.

    Returns:
      `TrainedMaskingModel`.

    Raises:
      ValueError: a count that is not positive (no selector steps are fine), batches
        that end at once or change their shape, targets out of range, `params` of
        another network; and as `perturbation.init_masking_model`.
      TypeError: clips that are not floating point, targets that are not integers.

    References:
      Dabkowski and Gal, "Real Time Image Saliency for Black Box Classifiers", NeurIPS
      2017, https://arxiv.org/abs/1705.07857. From code; units of the alternatives, and
      time, are our reading. Deviations: the weight of the area rises over the first
      half of the decoder's steps; the learning rate falls along half a cosine.
      Published: 8500 batches of 128 for the selector, 3000 of 64 for the decoder. For
      some hundred steps larger rates do better, such as 0.05 and 0.005.
    """
    check_count("num_steps", num_steps)
    selector_steps = num_steps if selector_steps is None else selector_steps
    if selector_steps:
        check_count("selector_steps", selector_steps)
    check_key(key)
    config = MaskingConfig() if config is None else config
    init_key, selector_key, decoder_key = jax.random.split(key, 3)
    stream = endless(batches)
    first = next(stream)
    if params is None:
        params = init_masking_model(f, first[0], key=init_key, **settings)
    elif settings:
        raise ValueError(
            f"`params` are given: {', '.join(settings)} would have no effect."
        )
    check_params(params)
    dtype = wide(first[0].dtype)
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
    weights, join = split(unbound(f))
    stream = itertools.chain([first], stream)

    def fit(params, objective, key, num, learning_rate):
        memory, records = optax.scale_by_adam().init(params), []
        for index in range(num):
            done = index / num
            rate = learning_rate * 0.5 * (1 + np.cos(np.pi * done))
            clips, targets = next(stream)
            check_targets(targets, len(params["selector"]))
            params, memory, record = _update(
                weights,
                params,
                memory,
                clips,
                targets,
                jax.random.fold_in(key, index),
                np.array([done, rate], dtype),
                join=join,
                objective=objective,
                config=config,
            )
            records.append(jax.device_get(record))
        return params, records

    params, existence = fit(
        params,
        selector_objective,
        selector_key,
        selector_steps,
        config.selector_learning_rate,
    )
    params, records = fit(
        params, decoder_objective, decoder_key, num_steps, config.learning_rate
    )
    columns = [np.array(column) for column in zip(*records, strict=True)]
    return TrainedMaskingModel(params, MaskingHistory(np.array(existence), *columns))


@functools.partial(jax.jit, static_argnames=("join", "objective", "config"))
def _update(
    weights, params, memory, clips, targets, key, clock, *, join, objective, config
):
    """One step, and what is recorded of it."""
    done, rate = clock
    network = trace(join(weights), clips[0], modules=True)
    layers = scales(network, params["blocks"])
    check_fit(params, layers, num_classes(network.output, "margin"))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(clips)))

    def loss(params):
        costs, records = jax.vmap(
            lambda clip, target, key: objective(
                params, network, layers, clip, target, key, done, config
            )
        )(clips, targets, keys)
        return costs.mean(), records

    slope, records = jax.grad(loss, has_aux=True)(params)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes counts with floats.
        step, memory = optax.scale_by_adam().update(slope, memory)
    params = jax.tree.map(lambda p, s: p - rate * s, params, step)
    summary = _by_class if isinstance(records, Costs) else jnp.mean
    return params, memory, summary(records)


def _by_class(costs):
    there = costs.exists.astype(costs.size.dtype)
    means = [column.mean() for column in costs[:4]]
    sizes = [(costs.size * w).sum() / w.sum() for w in (there, 1 - there)]
    return (*means, *sizes)
