"""What does a backward rule cost, in tracing and in running, over the plain gradient?

R(2+1)D-18, 16x112x112, float32, one clip, one process: a bare `jax.grad` of the
network, `saliency`, and every rule method beside both, in time to trace, in time to
run (interleaved, medians) and in compiled temporary memory.
"""

import argparse
import statistics
import time

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxattr
import jaxattr_models as models

BARE = "jax.grad"  # As a user would write it: no convolution is folded.
METHODS = {
    "saliency": {},
    "guided_backprop": {},
    "deconvnet": {},
    "grad_cam": {},
    "excitation_backprop": {},
    "excitation_backprop, stem": {"layer": "stem"},
    "lrp": {},
    "lrp, gamma": {"rules": "gamma"},
    "deep_lift": {},
    "deep_taylor": {},
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8x32x32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(arguments)
    shape = (8, 32, 32, 3) if args.quick else (16, 112, 112, 3)
    network = models.r2plus1d_18()
    clip = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    record = {"machine": _timing.machine(), "clip": shape, "rounds": args.rounds}
    print(record["machine"], flush=True)
    explains = {BARE: jax.tree_util.Partial(_gradient, network)} | {
        name: getattr(jaxattr, name.partition(",")[0])(network, **settings)
        for name, settings in METHODS.items()
    }
    record["trace"] = _trace_seconds(explains, clip, args.rounds)
    compiled = {
        name: jax.jit(_call).lower(explain, clip).compile()
        for name, explain in explains.items()
    }
    record["temporary_bytes"] = {
        name: program.memory_analysis().temp_size_in_bytes
        for name, program in compiled.items()
    }
    runs = {
        name: lambda program=program, name=name: program(explains[name], clip)
        for name, program in compiled.items()
    }
    record["seconds"] = _timing.medians(_timing.interleaved(runs, args.rounds))
    record["load after"] = _timing.machine()["load"]
    _timing.write(args.out, record)
    print("method                  trace s  /grad  /sal.    run s  /grad  /sal.   MB")
    for name in explains:
        cells = []
        for times in (record["trace"], record["seconds"]):
            ratios = [times[name] / times[other] for other in (BARE, "saliency")]
            cells.append("{:8.3f} {:6.2f} {:6.2f}".format(times[name], *ratios))
        size = record["temporary_bytes"][name] / 1e6
        print(f"{name:22s} {cells[0]} {cells[1]} {size:5.0f}")


def _gradient(network, clip, target):
    return jax.grad(lambda clip: network(clip)[target])(clip)


def _call(explain, clip):
    found = explain(clip, 0)
    return found if isinstance(found, jax.Array) else found.values


def _trace_seconds(explains, clip, rounds):
    """Median seconds from Python to a program, the methods interleaved."""
    seconds = {name: [] for name in explains}
    for _ in range(rounds):
        for name, explain in explains.items():
            jax.clear_caches()
            start = time.perf_counter()
            jax.jit(_call).trace(explain, clip)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(rounds) for name, rounds in seconds.items()}


if __name__ == "__main__":
    main()
