"""That methods say on eight devices what they say on one, clip after clip.

A process of its own runs this, since the number of devices is set before JAX starts:
`python tests/devices.py NAME...` fails at the first method that does not.
"""

import sys
import warnings

import conftest  # noqa: F401  The strict floor.
import jax
import jax.numpy as jnp
import networks
import numpy as np
import test_contract as contract
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxattr
from jaxattr._registry import METHODS


def bound(name, clips):
    """A method on the network of the contract, and its further inputs for each clip."""
    if name == "activation_maximisation":  # Not in the table: it explains no clip.
        return jaxattr.activation_maximisation(
            networks.make("nnx"), num_iterations=10
        ), {}
    method, settings = METHODS[name], contract.SETTINGS.get(name, {})
    made = [method.make_inputs(np.asarray(clip), settings) for clip in clips]
    inputs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)
    return method.transform(contract.make(name), **settings), inputs


@jax.jit
def run(explain, batch):
    def one(clip, target, key, inputs):
        return explain(clip, target, key=key, **inputs)

    return jax.vmap(one)(*batch)


def check(name, mesh):
    """One clip on each device against the same clips, one by one, on the first."""
    clips = jnp.stack([networks.clip(i) for i in range(mesh.size)])
    explain, inputs = bound(name, clips)
    targets = jnp.arange(mesh.size, dtype=jnp.int32) % networks.CLASSES
    keys = jax.random.split(jax.random.key(0), mesh.size)
    batch = clips, targets, keys, inputs
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("clips"))
    got = run(jax.device_put(explain, whole), jax.device_put(batch, split))
    shards = got.values.addressable_shards
    assert [len(shard.data) for shard in shards] == [1] * mesh.size
    for i in range(mesh.size):
        clip, target, key, inputs = jax.tree.map(lambda leaf, i=i: leaf[i], batch)
        want = explain(clip, int(target), key=key, **inputs)
        here = jax.tree.map(lambda leaf, i=i: leaf[i], got)
        contract.assert_close(here, want, jnp.float64)


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", jaxattr.ExplanationWarning)
    mesh = jax.make_mesh((8,), ("clips",), (AxisType.Auto,))
    for name in sys.argv[1:]:
        check(name, mesh)
        print(name, flush=True)
