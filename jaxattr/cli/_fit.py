"""Fits a network to labelled batches: AdamW, one-cycle schedule, smoothed labels."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxattr.program import fold_convs

Progress = Callable[[str, int, int, str], None]


class Recipe(NamedTuple):
    """How a network is fitted.

    Attributes:
      peak_rate: learning rate at the top of the one-cycle schedule.
      steps: number of updates.
      batch_size: clips in an update.
      weight_decay: of AdamW.
      smoothing: share of every label that is spread over all classes. Without it the
        answers reach a probability of 0.999 and more, where log-probabilities have no
        gradient left to explain; with 0.05 they end near 0.95.
      clip_norm: largest global norm of a gradient, or None.
    """

    peak_rate: float
    steps: int
    batch_size: int = 64
    weight_decay: float = 1e-2
    smoothing: float = 0.05
    clip_norm: float | None = None

    def __str__(self) -> str:
        clipped = "" if self.clip_norm is None else f", norm {self.clip_norm:g}"
        return (
            f"AdamW one-cycle {self.peak_rate:g}, weight decay {self.weight_decay:g}, "
            f"label smoothing {self.smoothing:g}{clipped}, {self.steps} steps of "
            f"{self.batch_size}"
        )


def fit(
    net,
    batches: Iterable[Any],
    prepare: Callable[..., tuple[jax.Array, jax.Array]],
    recipe: Recipe,
    report: Progress,
    check: Callable[[Any], str] | None = None,
) -> np.ndarray:
    """Trains the network in place and leaves it in evaluation mode.

    Args:
      net: NNX module; clips [B, T, H, W, C] -> logits [B, K].
      batches: yields the arguments of `prepare`, once for each step.
      prepare: traced into the update; returns clips as the network takes them, and
        classes [B].
      recipe: see there.
      report: called after every step, and with what `check` says.
      check: called with the network in evaluation mode, four times on the way.

    Returns:
      [steps] mean cross-entropy of each batch, in nats.
    """
    from flax import nnx

    net.train()
    graph, params, statistics = nnx.split(net, nnx.Param, nnx.BatchStat)
    schedule = optax.cosine_onecycle_schedule(max(recipe.steps, 4), recipe.peak_rate)
    optimiser = optax.adamw(schedule, weight_decay=recipe.weight_decay)
    if recipe.clip_norm is not None:
        optimiser = optax.chain(optax.clip_by_global_norm(recipe.clip_norm), optimiser)

    def forward(state, clips):
        # A copy, since NNX forbids updating a statistic that belongs to an outer trace.
        net = nnx.merge(graph, *state, copy=True)
        return net(clips), nnx.state(net, nnx.BatchStat)

    def loss_of(params, statistics, clips, labels):
        folded = fold_convs(jax.tree_util.Partial(forward, (params, statistics)))
        logits, statistics = folded(clips)
        wanted = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        wanted = optax.smooth_labels(wanted, recipe.smoothing)
        return optax.softmax_cross_entropy(logits, wanted).mean(), statistics

    @jax.jit
    def update(params, statistics, state, batch):
        clips, labels = prepare(*batch)
        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            params, statistics, clips, labels
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes int and float.
            change, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, change), statistics, state, loss

    state = optimiser.init(params)
    losses, said = [], ""
    for step, batch in enumerate(batches, start=1):
        params, statistics, state, loss = update(params, statistics, state, batch)
        losses.append(float(loss))
        if check is not None and step % max(recipe.steps // 5, 1) == 0:
            now = nnx.merge(graph, params, statistics, copy=True)
            now.eval()
            said = f", {check(now)}"
        report("train", step, recipe.steps, f"loss {losses[-1]:.3f}{said}")
    nnx.update(net, params, statistics)
    net.eval()
    return np.array(losses)
