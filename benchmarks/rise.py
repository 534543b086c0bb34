"""Does RISE cost more than its forward passes, and does its memory grow with masks?

R(2+1)D-18 on one clip of 16x112x112, float32: N masks in every chunk beside N forward
passes, and the temporary memory of as many masks and of ten times as many.
"""

import argparse

import _timing
import jax
import jax.numpy as jnp
import numpy as np
from _passes import against_passes

import jaxattr
import jaxattr_models as models

TARGET = 232


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8x32x32, 16 masks")
    parser.add_argument("--masks", type=int, help="N (400: chunks divide it)")
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3, help="rounds counted")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    size = (8, 32, 32) if args.quick else (16, 112, 112)
    num = args.masks or (16 if args.quick else 400)
    record = {"machine": _timing.machine(), "clip": size, "masks": num}
    print(record["machine"], flush=True)
    network = models.r2plus1d_18()
    clip = np.random.default_rng(0).normal(size=(*size, 3))
    clip = jnp.asarray(clip, jnp.float32)

    def explain(num, chunk):
        return jaxattr.rise(network, num_masks=num, chunk=chunk)

    def call(explain, clip):
        return explain(clip, TARGET, key=jax.random.key(0)).values

    many = jax.jit(call).lower(explain(10 * num, args.chunks[0]), clip).compile()
    memory = many.memory_analysis()
    record["temporary_bytes_of_ten_times"] = memory and memory.temp_size_in_bytes
    transforms = {chunk: explain(num, chunk) for chunk in args.chunks}
    record |= against_passes(call, transforms, network, clip, num, args.repeats)
    few = record["temporary_bytes"][args.chunks[0]]
    print(f"temporary bytes: {few}, of ten times the masks {memory.temp_size_in_bytes}")
    _timing.write(args.out, record)


if __name__ == "__main__":
    main()
