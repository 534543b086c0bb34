"""Are folded convolutions as fast as torch, alone, in a loop and in a batch?

R(2+1)D-18 and R3D-18 on one clip of 16x112x112, float32, CPU: forward, gradient of one
logit with respect to the clip, the same per iteration of a `scan`, and for 4 clips.
Competitors run interleaved in one process, with the same weights: our network as Flax
writes it (plain), folded, and torchvision's with frozen parameters in both memory
formats. The floor is the counted multiply-adds at the measured speed of a matrix
product. Beside the times: how far the folded gradient is from torch's.
"""

import argparse
import copy
import math

import _timing
import _torch_networks
import jax
import jax.numpy as jnp
import numpy as np
from _torch_networks import FORMATS, torch
from jax.extend.core import jaxprs_in_params

from jaxattr.program import trace

TARGET = 232
LOOP = 4  # Iterations of the scan.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8x32x32, 3 rounds")
    parser.add_argument("--repeats", type=int, default=7, help="rounds counted")
    parser.add_argument("--networks", nargs="+", default=["r2plus1d_18", "r3d_18"])
    parser.add_argument("--skip-plain", action="store_true", help="it is very slow")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    size = (8, 32, 32) if args.quick else (16, 112, 112)
    repeats = 3 if args.quick else args.repeats
    record = {"machine": _timing.machine(), "clip": size, "repeats": repeats}
    print(record["machine"], flush=True)
    for name in args.networks:
        record[name] = {}
        for _ in _measure(name, size, repeats, args.skip_plain, record[name]):
            _timing.write(args.out, record)  # What is done stays, whatever comes.
    record["load after"] = _timing.machine()["load"]
    _timing.write(args.out, record)


def _measure(name, size, repeats, skip_plain, record):
    """Fills the record of a network; yields after each row."""
    network, module = _torch_networks.torchvision(name)
    clips = np.random.default_rng(0).normal(size=(4, *size, 3)).astype(np.float32)
    folded, plain = (_jax_runs(network, clips, fold) for fold in (True, False))
    ours = np.asarray(folded["gradient"]())
    theirs = _torch_run(module, FORMATS["torch"], "gradient", clips)()
    record["gflop"] = _gflop(network, clips[0])
    record["difference"] = float(abs(ours - theirs).max() / abs(theirs).max())
    print(
        f"\n{name}: {record['gflop']:.1f} GFLOP forward; folded and torch's gradient "
        f"differ by {record['difference']:.1e} of the largest\n"
        "seconds         plain   folded    torch  ch.last    ratio GFLOP/s    floor"
    )
    for task, passes in (("forward", 1), ("gradient", 2), ("loop", 2), ("batch", 8)):
        runs = {"folded": folded[task], "product": _matrix_product()}
        for name, layout in FORMATS.items():
            runs[name] = _torch_run(module, layout, task, clips)
        seconds = _timing.medians(_timing.interleaved(runs, repeats))
        if not skip_plain and task in ("forward", "gradient"):  # Once: it is slow.
            (seconds["plain"],) = _timing.interleaved({"": plain[task]}, 1)[""]
        if task == "loop":
            seconds["folded"] /= LOOP
        ceiling = _GEMM / seconds.pop("product") / 1e9
        peer = min(seconds["torch"], seconds["torch channels last"])
        record[task] = {
            "seconds": seconds,
            "ratio": seconds["folded"] / peer,  # To the faster format of torch.
            "ceiling": ceiling,
            "floor": passes * record["gflop"] / ceiling,
        }
        _show(task, record[task])
        yield


def _jax_runs(network, clips, fold):
    """Compiled functions of (network, clip), the network an argument as in jaxattr."""

    @jax.jit
    def forward(network, clip):
        return trace(network, clip, fold=fold)(clip)

    def gradient(network, clip):
        traced = trace(network, clip, fold=fold)
        return jax.grad(lambda clip: traced(clip)[TARGET])

    @jax.jit
    def once(network, clip):
        return gradient(network, clip)(clip)

    @jax.jit
    def loop(network, clip):
        slope = gradient(network, clip)
        step = lambda clip, _: (clip - 1e-3 * slope(clip), None)  # noqa: E731
        return jax.lax.scan(step, clip, None, length=LOOP)[0]

    @jax.jit
    def batch(network, clips):
        return jax.vmap(gradient(network, clips[0]))(clips)

    clips = jnp.asarray(clips)
    return {
        "forward": lambda: forward(network, clips[0]),
        "gradient": lambda: once(network, clips[0]),
        "loop": lambda: loop(network, clips[0]),
        "batch": lambda: batch(network, clips),
    }


def _torch_run(module, layout, task, clips):
    """The forward pass or the gradient in torch, in one of its memory formats."""
    if task != "batch":
        clips = clips[:1]
    x = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).contiguous()
    x = x.to(memory_format=layout)
    module = copy.deepcopy(module).to(memory_format=layout)

    def forward():
        with torch.no_grad():
            return module(x).numpy()

    def gradient():
        z = x.detach().requires_grad_()
        module(z)[:, TARGET].sum().backward()
        g = z.grad.permute(0, 2, 3, 4, 1).numpy()
        return g if task == "batch" else g[0]

    return forward if task == "forward" else gradient


_SIDE = 2048
_GEMM = 2 * _SIDE**3


def _matrix_product():
    a = jnp.ones((_SIDE, _SIDE), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    return lambda: product(a)


def _gflop(network, clip):
    """Counted multiply-adds times two, of all convolutions, forward."""
    return _count(trace(network, clip, fold=False).jaxpr) / 1e9


def _count(jaxpr):
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated":
            out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
            outputs = eqn.params["dimension_numbers"].rhs_spec[0]
            total += 2 * math.prod(out) * math.prod(kernel) // kernel[outputs]
        total += sum(map(_count, jaxprs_in_params(eqn.params)))
    return total


def _show(task, row):
    seconds = row["seconds"]
    times = [
        seconds.get(name, math.nan)
        for name in ("plain", "folded", "torch", "torch channels last")
    ]
    cells = [*times, row["ratio"]]
    print(
        f"{task:12}{''.join(f'{cell:9.3f}' for cell in cells)}"
        f"{row['ceiling']:8.0f}{row['floor']:9.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
