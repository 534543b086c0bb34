"""Does insertion cost more than its forward passes, and which chunk is best?

R(2+1)D-18 on one clip of 16x112x112, float32. A forward pass of the traced network is
timed alone; insertion with n steps is n + 1 of them, and in every chunk it is compared
with that many. Runs are interleaved in one process. Beside the times: temporary memory
as the compiler reports it, and the largest difference of the area between chunks.
"""

import argparse

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxattr_models as models
from jaxattr import metrics
from jaxattr.program import trace

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
    forward = jax.jit(lambda network, clip: trace(network, clip)(clip))
    measure = jax.jit(lambda metric, clip, heat: metric(clip, TARGET, heat))
    runs, record["temporary_bytes"], areas = {}, {}, []
    for chunk in args.chunks:
        metric = metrics.insertion(network, num_steps=steps, chunk=chunk)
        compiled = measure.lower(metric, clip, heat).compile()
        memory = compiled.memory_analysis()
        record["temporary_bytes"][chunk] = memory and memory.temp_size_in_bytes
        areas.append(float(compiled(metric, clip, heat).auc))
        runs[chunk] = lambda compiled=compiled, metric=metric: compiled(
            metric, clip, heat
        )
    passes = steps + 1
    runs["forward"] = lambda: [forward(network, clip) for _ in range(passes)]
    seconds = _timing.medians(_timing.interleaved(runs, args.repeats))
    record["seconds"] = seconds
    record["ratio"] = {
        chunk: seconds[chunk] / seconds["forward"] for chunk in args.chunks
    }
    record["difference"] = max(areas) - min(areas)
    record["load after"] = _timing.machine()["load"]
    _timing.write(args.out, record)
    print(f"{passes} forward passes: {seconds['forward']:.2f} s")
    for chunk, ratio in record["ratio"].items():
        mib = (record["temporary_bytes"][chunk] or 0) / 2**20
        print(f"chunk {chunk}: {seconds[chunk]:7.2f} s, {ratio:.3f}x, {mib:.0f} MiB")
    print(f"areas differ by {record['difference']:.1e} between chunks")


if __name__ == "__main__":
    main()
