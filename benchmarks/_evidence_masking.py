"""The masking model of the benchmark: one for each network.

It is taught all families but those that are only ever tested on. Its clips are of the
split "train"; the network's own labels are the targets. What it was taught stays when
weights are randomised, so that its "sanity" says nothing.
"""

import dataclasses

import jax
import numpy as np

import jaxattr
from jaxattr.data import evidence
from jaxattr.perturbation import MaskingConfig

RECIPE = {"num_steps": 200, "selector_steps": 100, "channels": 16}
CONFIG = MaskingConfig(selector_learning_rate=5e-2, learning_rate=5e-3)
CLIPS, BATCH = 64, 16  # Clips of each family, and in a batch.


def settings():
    """All that determines the parameters, but for the network and the code."""
    return RECIPE | dataclasses.asdict(CONFIG) | {"clips": CLIPS, "batch": BATCH}


def taught(f):
    """Parameters of `jaxattr.masking_model` for a network."""
    trained = jaxattr.train_masking_model(
        f, _batches(f), key=jax.random.key(0), config=CONFIG, **RECIPE
    )
    return trained.params


def _batches(f):
    """Epochs without end, each in another order."""
    key, count = evidence.split_key("train"), len(f.spec.labels)
    families = [
        name
        for name, family in evidence.FAMILIES.items()
        if evidence.labels(name)[-1] < count and not family.test_only
    ]
    made = [evidence.batch(key, CLIPS, family) for family in families]
    clips = np.concatenate([np.asarray(one.clip) for one in made])
    targets = np.concatenate([np.asarray(one.target) for one in made])
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(len(clips))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield clips[chosen], targets[chosen]
