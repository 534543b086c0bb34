"""Clips to learn from: rendered as bytes, kept in a file, mirrored with their class."""

import hashlib
import importlib.resources
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.cli._fit import Progress
from jaxattr.cli._paths import home
from jaxattr.data import evidence

CHUNK = 64  # Clips rendered, or judged, at a time.

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
        "white, then black": "black, then white",
        "black, then white": "white, then black",
    },
}


class Pool(NamedTuple):
    """Clips of one split.

    Attributes:
      clips: [N, T, H, W, 3] uint8.
      labels: [N] int32, indices into `evidence.LABELS`.
    """

    clips: np.ndarray
    labels: np.ndarray


def render_pool(split: str, seed: int, num: int, report: Progress, **settings) -> Pool:
    """Renders the first samples of a split; `settings` are those of `batch`."""
    key = evidence.split_key(split, seed=seed)
    clips, labels = np.empty((num, 16, 56, 56, 3), np.uint8), np.empty(num, np.int32)
    note = " ".join((split, settings.get("family", ""))).strip()
    for start in range(0, num, CHUNK):
        stop = min(start + CHUNK, num)
        samples = evidence.batch(key, CHUNK, start=start, **settings)
        clips[start:stop] = to_bytes(samples.clip)[: stop - start]
        labels[start:stop] = samples.target[: stop - start]
        report("render", stop, num, f"{note} clips")
    return Pool(clips, labels)


def cached_pool(split: str, seed: int, num: int, report: Progress, **settings) -> Pool:
    """As `render_pool`, from a file in the cache folder if it was rendered before.

    The file's name holds a digest of the renderer's source and of all arguments, so
    that no change of either goes unnoticed. The clips stay on disk, memory-mapped.
    """
    folder = home() / "clips"
    arguments = json.dumps([split, seed, num, settings, jax.__version__])
    digest = hashlib.sha256(arguments.encode() + _source()).hexdigest()[:16]
    files = [folder / f"{digest}-{name}.npy" for name in Pool._fields]
    if not files[0].exists():
        folder.mkdir(parents=True, exist_ok=True)
        pool = render_pool(split, seed, num, report, **settings)
        for file, array in reversed(list(zip(files, pool, strict=True))):
            _write(file, array)  # The clips last: where they are, so are the labels.
    return Pool(np.load(files[0], mmap_mode="r"), np.load(files[1]))


def _source() -> bytes:
    files = importlib.resources.files(evidence).iterdir()
    python = sorted((f for f in files if f.name.endswith(".py")), key=lambda f: f.name)
    return b"".join(file.read_bytes() for file in python)


def _write(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a .npy file that appears complete or not at all."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".npy", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


@jax.jit
def to_bytes(clips: jax.Array) -> jax.Array:
    """Clips as a network takes them, as bytes."""
    pixels = (clips * evidence.STD + evidence.MEAN) * 255
    return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


def from_bytes(clips: jax.Array) -> jax.Array:
    """Bytes as a network takes them."""
    pixels = clips.astype(jnp.float32) / 255
    return (pixels - evidence.MEAN) / evidence.STD


def shuffled(num_clips: int, batch_size: int, steps: int, seed: int) -> Iterator:
    """Yields (indices [B], flips [B, 3]), reshuffled in every pass."""
    rng = np.random.default_rng(seed)
    order = np.zeros(0, int)
    for _ in range(steps):
        if len(order) < batch_size:
            order = rng.permutation(num_clips)
        chosen, order = order[:batch_size], order[batch_size:]
        yield chosen, rng.random((batch_size, 3)) < 0.5


def prepared(
    clips: jax.Array, labels: jax.Array, flips: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Bytes, mirrored, as a network takes them; and what class each then is."""
    clips, labels = mirror(clips, labels, flips)
    return from_bytes(clips), labels


def mirror(
    clips: jax.Array, labels: jax.Array, flips: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mirrors clip i in those of (x, y, t) that `flips` [B, 3] says, class and all."""
    names = evidence.LABELS
    for which, (axis_name, axis) in enumerate((("x", 3), ("y", 2), ("t", 1))):
        turned = flips[:, which]
        other = _MIRRORED[axis_name]
        table = [names.index(other.get(name, name)) for name in names]
        labels = jnp.where(turned, jnp.asarray(table, labels.dtype)[labels], labels)
        turned = turned.reshape(-1, 1, 1, 1, 1)
        clips = jnp.where(turned, jnp.flip(clips, axis), clips)
    return clips, labels


def accuracy(net, pool: Pool, report: Progress) -> float:
    """Fraction of a pool that a network answers right."""
    right, num = 0, len(pool.clips)
    for start in range(0, num, CHUNK):
        stop = min(start + CHUNK, num)
        answers = np.asarray(_answers(net, pool.clips[start:stop]))
        right += int((answers == pool.labels[start:stop]).sum())
        report("check", stop, num, f"{right / stop:.1%} right")
    return right / num


@jax.jit
def _answers(net, clips):
    return net(from_bytes(clips)).argmax(-1)
