"""A linear network and noisy clips, small enough to be evaluated in no time."""

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq

from jaxattr.data import Sample
from jaxattr.evaluation import evaluate

SHAPE = (3, 4, 8, 2)  # T, H, W, C all differ.
WEIGHT = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
SETTINGS = {
    "seed": 3,
    "networks": [{"name": "linear"}],
    "data": [{"kind": "toys"}],
    "methods": [{"name": "saliency"}, {"name": "random"}],
    "metrics": [
        {"name": "auprc"},
        {"name": "insertion", "num_steps": 4, "unit": "voxel"},
    ],
}


def linear(weight=WEIGHT):
    """Five classes, each a weighted sum of the clip."""
    return jax.tree_util.Partial(_linear, jnp.asarray(weight))


def _linear(weight, clip):
    return jnp.tensordot(weight, clip, 4) / 50


class Toys:
    """Clips of noise whose evidence is a random box."""

    def __init__(self, num=5, undecodable=(), unannotated=()):
        self.names = [f"toy-{i}" for i in range(num)]
        self.undecodable, self.unannotated = undecodable, unannotated
        self.asked = []

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        self.asked.append(index)
        if index in self.undecodable:
            raise ValueError(f"frame 7 of {self.names[index]} is damaged\nsomewhere")
        rng = np.random.default_rng(index)
        clip = rng.normal(size=SHAPE).astype(np.float32)
        mask = np.zeros(SHAPE[:3], bool)
        mask[:2, 1:3, index % 4 : index % 4 + 3] = True
        if index in self.unannotated:
            mask = None
        return Sample(self.names[index], clip, index % 5, mask=mask, group="noise")


def run(out, settings=SETTINGS, *, weight=WEIGHT, toys=None, **options):
    """Evaluates the toys."""
    networks, data = {"linear": linear(weight)}, {"toys": toys or Toys()}
    return evaluate(settings, out, networks=networks, data=data, **options)


def rows(out, *, times=False):
    """The table of a folder, without the times."""
    found = pq.read_table(out / "records.parquet").to_pylist()
    if not times:
        for row in found:
            del row["seconds"], row["memory"]
    return found
