"""Trains the evidence network: `jaxattr train evidence` makes its shipped weights."""

import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxattr.data import evidence as clips_of

Progress = Callable[[str, int, int, str], None]

_PEAK_RATE = 8e-3
_WEIGHT_DECAY = 1e-2
# Without it the answers reach a probability of 0.999 and more, where log-probabilities
# have no gradient left to explain; with it they end near 0.95.
_SMOOTHING = 0.05
_CHUNK = 64  # Clips rendered, or judged, at a time.

# What becomes of a class when a clip is mirrored in x, in y, or played backwards.
_MIRRORED = {
    "x": {"left": "right", "right": "left"},
    "y": {"up": "down", "down": "up"},
    "t": {
        "left": "right",
        "right": "left",
        "up": "down",
        "down": "up",
        "grow": "shrink",
        "shrink": "grow",
    },
}


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

    _check_counts(steps=steps, num_clips=num_clips, num_held_out=num_held_out)
    _check_counts(batch_size=batch_size)
    if batch_size > num_clips:
        raise ValueError(
            f"`batch_size` must be at most `num_clips`, got {batch_size} and "
            f"{num_clips}."
        )
    report = progress or (lambda stage, done, total, note: None)
    out = _writable(out)
    clock = _Clock()
    clips, labels = _render("train", seed, num_clips, report)
    held_out = _render("dev", seed, num_held_out, report)
    clock.lap("render")
    net = evidence(weights=None, seed=seed)
    losses = _fit(net, clips, labels, steps, batch_size, seed, report)
    clock.lap("train")
    accuracy = _accuracy(net, *held_out, report)
    clock.lap("check")
    metadata = {
        "accuracy": f"{accuracy:.4f} on {num_held_out} clips of the dev split",
        "recipe": f"AdamW one-cycle {_PEAK_RATE:g}, weight decay {_WEIGHT_DECAY:g}, "
        f"label smoothing {_SMOOTHING:g}, {steps} steps of {batch_size} out of "
        f"{num_clips} clips, mirrored in x, y, t",
        "seed": str(seed),
        "versions": f"jax {jax.__version__}, optax {optax.__version__}",
    }
    weights.save(net, out, metadata=metadata)
    return TrainingReport(out, accuracy, num_held_out, losses, clock.seconds)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}.")


def _writable(out: str | os.PathLike) -> pathlib.Path:
    """Returns `out` as a path, sure that a file can be written there."""
    out = pathlib.Path(out)
    if out.suffix != ".safetensors":
        raise ValueError(f"`out` must be a .safetensors file, got {str(out)!r}.")
    if out.is_dir():
        raise IsADirectoryError(f"`out` must name a file, {str(out)!r} is a folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        return out


class _Clock:
    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now


def _render(
    split: str, seed: int, num: int, report: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Clips [N, T, H, W, 3] uint8 and classes [N] of the first samples of a split."""
    key = clips_of.split_key(split, seed=seed)
    clips, labels = [], []
    for start in range(0, num, _CHUNK):
        samples = clips_of.batch(key, _CHUNK, start=start)
        clips.append(np.asarray(_to_bytes(samples.clip)))
        labels.append(np.asarray(samples.target))
        report("render", min(start + _CHUNK, num), num, f"{split} clips")
    return np.concatenate(clips)[:num], np.concatenate(labels)[:num]


@jax.jit
def _to_bytes(clips: jax.Array) -> jax.Array:
    pixels = (clips * clips_of.STD + clips_of.MEAN) * 255
    return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


def _from_bytes(clips: jax.Array) -> jax.Array:
    pixels = clips.astype(jnp.float32) / 255
    return (pixels - clips_of.MEAN) / clips_of.STD


def _fit(net, clips, labels, steps, batch_size, seed, report: Progress) -> np.ndarray:
    """Trains the network in place; leaves it in evaluation mode."""
    from flax import nnx

    net.train()
    graph, params, statistics = nnx.split(net, nnx.Param, nnx.BatchStat)
    schedule = optax.cosine_onecycle_schedule(max(steps, 4), _PEAK_RATE)
    optimiser = optax.adamw(schedule, weight_decay=_WEIGHT_DECAY)

    def loss_of(params, statistics, clips, labels):
        # A copy, since NNX forbids updating a statistic that belongs to an outer trace.
        net = nnx.merge(graph, params, statistics, copy=True)
        logits = net(clips)
        wanted = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        wanted = optax.smooth_labels(wanted, _SMOOTHING)
        losses = optax.softmax_cross_entropy(logits, wanted)
        return losses.mean(), nnx.state(net, nnx.BatchStat)

    @jax.jit
    def update(params, statistics, state, clips, labels, flips):
        clips, labels = _mirror(clips, labels, flips)
        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            params, statistics, _from_bytes(clips), labels
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes int and float.
            change, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, change), statistics, state, loss

    state = optimiser.init(params)
    losses = []
    for step, chosen, flips in _batches(len(clips), batch_size, steps, seed):
        params, statistics, state, loss = update(
            params, statistics, state, clips[chosen], labels[chosen], flips
        )
        losses.append(float(loss))
        report("train", step + 1, steps, f"loss {losses[-1]:.3f}")
    nnx.update(net, params, statistics)
    net.eval()
    return np.array(losses)


def _batches(num_clips: int, batch_size: int, steps: int, seed: int):
    """Yields (step, indices [B], flips [B, 3]), reshuffled in every pass."""
    rng = np.random.default_rng(seed)
    order = np.zeros(0, int)
    for step in range(steps):
        if len(order) < batch_size:
            order = rng.permutation(num_clips)
        chosen, order = order[:batch_size], order[batch_size:]
        yield step, chosen, rng.random((batch_size, 3)) < 0.5


def _mirror(
    clips: jax.Array, labels: jax.Array, flips: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mirrors clip i in those of (x, y, t) that `flips` [B, 3] says, class and all."""
    for which, (mirror, axis) in enumerate((("x", 3), ("y", 2), ("t", 1))):
        turned = flips[:, which]
        table = [
            clips_of.CLASSES.index(_MIRRORED[mirror].get(name, name))
            for name in clips_of.CLASSES
        ]
        labels = jnp.where(turned, jnp.asarray(table, labels.dtype)[labels], labels)
        turned = turned.reshape(-1, 1, 1, 1, 1)
        clips = jnp.where(turned, jnp.flip(clips, axis), clips)
    return clips, labels


def _accuracy(net, clips: np.ndarray, labels: np.ndarray, report: Progress) -> float:
    predict = jax.jit(lambda net, clips: net(_from_bytes(clips)).argmax(-1))
    right = 0
    for start in range(0, len(clips), _CHUNK):
        stop = min(start + _CHUNK, len(clips))
        answers = np.asarray(predict(net, clips[start:stop]))
        right += int((answers == labels[start:stop]).sum())
        report("check", stop, len(clips), f"{right / stop:.1%} right")
    return right / len(clips)
