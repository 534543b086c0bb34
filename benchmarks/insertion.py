"""Does insertion cost more than its forward passes, and which chunk is best?

R(2+1)D-18 on one clip of 16x112x112, float32. A forward pass of the traced network is
timed alone; insertion with n steps is n + 1 of them, and in every chunk it is compared
with that many. Beside the times: temporary memory, and the largest difference of the
area between chunks.
"""

import argparse

import _timing
import jax.numpy as jnp
import numpy as np
from _passes import against_passes

import jaxattr_models as models
from jaxattr import metrics

TARGET = 232


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8x32x32, 15 steps")
    parser.add_argument("--steps", type=int, help="n (127: chunks divide n + 1)")
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=7, help="rounds counted")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    size = (8, 32, 32) if args.quick else (16, 112, 112)
    steps = args.steps or (15 if args.quick else 127)
    record = {"machine": _timing.machine(), "clip": size, "steps": steps}
    print(record["machine"], flush=True)
    network = models.r2plus1d_18()
    rng = np.random.default_rng(0)
    clip = jnp.asarray(rng.normal(size=(*size, 3)), jnp.float32)
    heat = jnp.asarray(rng.normal(size=size), jnp.float32)
    transforms = {
        chunk: metrics.insertion(network, num_steps=steps, chunk=chunk)
        for chunk in args.chunks
    }

    def call(metric, clip):
        return metric(clip, TARGET, heat).auc

    record |= against_passes(call, transforms, network, clip, steps + 1, args.repeats)
    _timing.write(args.out, record)


if __name__ == "__main__":
    main()
