"""Trains a network on all families of evidence clips, in one of four architectures."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax

from jaxattr.cli._fit import Progress, Recipe, fit
from jaxattr.cli._pool import Pool, accuracy, cached_pool, prepared
from jaxattr.cli._training import Clock, check_counts, writable
from jaxattr.data import evidence

# One recipe for each architecture.
RECIPES = {
    "factored": Recipe(6e-3, 1600, batch_size=32),
    "3d": Recipe(5e-3, 2400, batch_size=32),
    "lstm": Recipe(3e-3, 2600, batch_size=32, clip_norm=1.0),
    "transformer": Recipe(2e-3, 1600, batch_size=32, clip_norm=1.0),
}

_NONE = 1 / 8  # Share of the clips that lack their evidence.
_CAMERA = 1 / 4  # Share of the clips in which the camera pans.
_SHARES = {
    "motion": 3.0,
    "appearance": 2.0,
    "trigger": 2.0,
}  # Every other family counts 1.


class FamiliesReport(NamedTuple):
    """How a training went.

    Attributes:
      path: of the checkpoint.
      accuracy: by family, fraction of `num_test` clips of "test" answered right.
      num_test: how many those were, for each family.
      losses: [steps] mean cross-entropy of each batch, in nats.
      seconds: wall time by stage: "render", "train", "check".
    """

    path: pathlib.Path
    accuracy: dict[str, float]
    num_test: int
    losses: np.ndarray
    seconds: dict[str, float]


def train_families(
    network: str,
    out: str | os.PathLike,
    *,
    families: Sequence[str] = tuple(evidence.FAMILIES),
    seed: int = 0,
    steps: int | None = None,
    num_clips: int = 2048,
    num_dev: int = 64,
    num_test: int = 512,
    progress: Progress | None = None,
) -> FamiliesReport:
    """Trains one of the four small networks on families of evidence clips.

    The clips of the "train" split are rendered once and kept in the cache folder, where
    every training finds them; an eighth of them lacks its evidence and is of class
    "none", and in a quarter the camera pans. They are mirrored at random in x, y and
    time with the class mapped along. Clips of "dev" are judged on the way, clips of
    "test" once, at the end.

    Args:
      network: "factored", "3d", "lstm" or "transformer".
      out: file to write, ending in ".safetensors"; replaced only when all is done, so
        that an interruption leaves what was there.
      families: names of the families to learn.
      seed: of parameters, batches and mirrorings; the clips are the same for all.
      steps: number of updates; None takes the network's own.
      num_clips: clips of each family to learn from; 150 kB on disk each.
      num_dev: clips of each family to judge by on the way.
      num_test: clips of each family to judge by at the end.
      progress: called with (stage, done, total, note) as the work goes on.

    Returns:
      What was reached, how, and where it lies.

    Raises:
      ValueError: if there is no such network or family, a count is not positive, or
        `out` is no ".safetensors" file.
      OSError: if `out` cannot be written; found out before the work, not after.
    """
    import jaxattr_models

    if network not in RECIPES:
        raise ValueError(f"`network` must be one of {list(RECIPES)}, got {network!r}.")
    for family in families:
        evidence.labels(family)  # Raises, with the nearest names.
    recipe = RECIPES[network]
    recipe = recipe._replace(steps=recipe.steps if steps is None else steps)
    check_counts(steps=recipe.steps, num_clips=num_clips, families=len(families))
    check_counts(num_dev=num_dev, num_test=num_test)
    report = progress or (lambda stage, done, total, note: None)
    out = writable(out)

    def pools(split, num, **settings):
        return {
            family: cached_pool(split, 0, num, report, family=family, **settings)
            for family in families
        }

    clock = Clock()
    train = pools("train", num_clips, none=_NONE, camera=_CAMERA)
    dev = pools("dev", num_dev)
    clock.lap("render")
    name = f"evidence_{network}"
    net = jaxattr_models.build(name, num_classes=len(evidence.LABELS), seed=seed)
    quiet = lambda stage, done, total, note: None  # noqa: E731

    def check(net):
        scores = {f: accuracy(net, pool, quiet) for f, pool in dev.items()}
        return "dev " + ", ".join(f"{f} {score:.0%}" for f, score in scores.items())

    losses = fit(net, _mixed(train, recipe, seed), prepared, recipe, report, check)
    clock.lap("train")
    test = pools("test", num_test)
    scores = {f: accuracy(net, pool, report) for f, pool in test.items()}
    clock.lap("check")
    listed = ", ".join(f"{f} {score:.4f}" for f, score in scores.items())
    metadata = {
        "accuracy": f"{listed} on {num_test} clips each of the test split",
        "recipe": f"{recipe} out of {num_clips} clips of each family, {_NONE:g} of "
        f"them without evidence, {_CAMERA:g} with a pan, mirrored in x, y, t",
        "seed": str(seed),
        "versions": f"jax {jax.__version__}, optax {optax.__version__}",
    }
    jaxattr_models.save(net, out, metadata=metadata)
    return FamiliesReport(out, scores, num_test, losses, clock.seconds)


def _mixed(pools: Mapping[str, Pool], recipe: Recipe, seed: int):
    """Yields (clips, labels, flips [B, 3]) of all families, each by its share."""
    rng = np.random.default_rng(seed)
    families = list(pools)
    shares = np.array([_SHARES.get(family, 1.0) for family in families])
    for _ in range(recipe.steps):
        which = rng.choice(len(families), recipe.batch_size, p=shares / shares.sum())
        picked = [pools[families[i]] for i in which]
        places = [int(rng.integers(len(pool.labels))) for pool in picked]
        clips = np.stack([pool.clips[at] for pool, at in zip(picked, places)])
        labels = np.stack([pool.labels[at] for pool, at in zip(picked, places)])
        yield clips, labels, rng.random((recipe.batch_size, 3)) < 0.5
