"""Trains the evidence network: `jaxattr train evidence` makes its shipped weights."""

import os
import pathlib
from typing import NamedTuple

import jax
import numpy as np
import optax

from jaxattr.cli._fit import Progress, Recipe, fit
from jaxattr.cli._pool import accuracy, prepared, render_pool, shuffled
from jaxattr.cli._training import Clock, check_counts, writable

_PEAK_RATE = 8e-3


class TrainingReport(NamedTuple):
    """How a training went.

    Attributes:
      path: of the checkpoint.
      accuracy: fraction of `num_held_out` clips of the "dev" split answered right.
      num_held_out: how many those were.
      losses: [steps] mean cross-entropy of each batch, in nats; with the smoothed
        labels 0.265 is the least possible.
      seconds: wall time by stage: "render", "train", "check".
    """

    path: pathlib.Path
    accuracy: float
    num_held_out: int
    losses: np.ndarray
    seconds: dict[str, float]


def train_evidence(
    out: str | os.PathLike,
    *,
    seed: int = 0,
    steps: int = 360,
    batch_size: int = 64,
    num_clips: int = 3072,
    num_held_out: int = 512,
    progress: Progress | None = None,
) -> TrainingReport:
    """Trains the evidence network from random parameters and writes a checkpoint.

    AdamW with a one-cycle schedule and smoothed labels, on clips of the "train" split:
    rendered once, kept as bytes, mirrored at random in x, y and time with the class
    mapped along.

    The same arguments on the same machine and versions repeat every number; elsewhere
    the order of summation differs, and with it the last digits of the weights.

    Args:
      out: file to write, ending in ".safetensors"; replaced only when all is done, so
        that an interruption leaves what was there.
      seed: of parameters, clips, batches and mirrorings.
      steps: number of updates.
      batch_size: clips in an update.
      num_clips: clips to learn from; 150 kB of memory each.
      num_held_out: clips of the "dev" split to measure accuracy on.
      progress: called with (stage, done, total, note) as the work goes on.

    Returns:
      What was reached, how, and where it lies.

    Raises:
      ValueError: if a count is not positive, a batch larger than the data, or `out`
        no ".safetensors" file.
      OSError: if `out` cannot be written; found out before the work, not after.
    """
    from jaxattr_models import weights
    from jaxattr_models.evidence import evidence

    check_counts(steps=steps, num_clips=num_clips, num_held_out=num_held_out)
    check_counts(batch_size=batch_size)
    if batch_size > num_clips:
        raise ValueError(
            f"`batch_size` must be at most `num_clips`, got {batch_size} and "
            f"{num_clips}."
        )
    report = progress or (lambda stage, done, total, note: None)
    out = writable(out)
    clock = Clock()
    clips, labels = render_pool("train", seed, num_clips, report)
    held_out = render_pool("dev", seed, num_held_out, report)
    clock.lap("render")
    net = evidence(weights=None, seed=seed)
    recipe = Recipe(_PEAK_RATE, steps, batch_size)
    batches = (
        (clips[chosen], labels[chosen], flips)
        for chosen, flips in shuffled(num_clips, batch_size, steps, seed)
    )
    losses = fit(net, batches, prepared, recipe, report)
    clock.lap("train")
    score = accuracy(net, held_out, report)
    clock.lap("check")
    metadata = {
        "accuracy": f"{score:.4f} on {num_held_out} clips of the dev split",
        "recipe": f"{recipe} out of {num_clips} clips, mirrored in x, y, t",
        "seed": str(seed),
        "versions": f"jax {jax.__version__}, optax {optax.__version__}",
    }
    weights.save(net, out, metadata=metadata)
    return TrainingReport(out, score, num_held_out, losses, clock.seconds)
