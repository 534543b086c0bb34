"""What does a gradient through `from_torch` cost beside torch's own?

R(2+1)D-18 on one clip of 16x112x112, float32, CPU: the gradient of one logit and of one
log-probability with respect to the clip, and one iteration of a loop over gradients.
Interleaved in one process with torch on the same frozen module, in both of its memory
formats. "anew" is the bridge without the graph that it keeps between a forward pass and
its gradient; "direct" is an `explain` outside of `jit`, which asks once more for the
logits. Beside the times: how far the gradient is from torch's.
"""

import argparse
import copy
import warnings

import _timing
import _torch_networks
import jax
import jax.numpy as jnp
import numpy as np
from _torch_networks import FORMATS, torch

import jaxattr

TARGET = 232
LOOP = 4  # Iterations of the scan.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8x32x32, 3 rounds")
    parser.add_argument("--repeats", type=int, default=7, help="rounds counted")
    parser.add_argument("--network", default="r2plus1d_18")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    size = (8, 32, 32) if args.quick else (16, 112, 112)
    repeats = 3 if args.quick else args.repeats
    record = {"machine": _timing.machine(), "clip": size, "repeats": repeats}
    print(record["machine"], flush=True)
    warnings.simplefilter("ignore", jaxattr.ExplanationWarning)  # Weights are random.
    _, module = _torch_networks.torchvision(args.network)
    clip = np.random.default_rng(0).normal(size=(*size, 3)).astype(np.float32)
    ours = {
        "bridge": jaxattr.from_torch(module),
        "anew": _without_graph(jaxattr.from_torch(module)),
    }
    for task in ("logit", "log_prob", "loop"):
        runs = {name: _jax_run(network, clip, task) for name, network in ours.items()}
        if task != "loop":
            runs["direct"] = _direct(ours["bridge"], clip, task)
        for name, layout in FORMATS.items():
            runs[name] = _torch_run(module, layout, clip, task)
        difference = np.abs(np.asarray(runs["bridge"]()) - runs["torch"]())
        seconds = _timing.medians(_timing.interleaved(runs, repeats))
        peer = min(seconds[name] for name in FORMATS)
        record[task] = {
            "seconds": seconds,
            "ratio": seconds["bridge"] / peer,  # To the faster format of torch.
            "difference": float(difference.max() / np.abs(runs["torch"]()).max()),
        }
        times = "  ".join(f"{name} {value:.3f}" for name, value in seconds.items())
        print(
            f"{task:9} {times}  ratio {record[task]['ratio']:.3f}  "
            f"difference {record[task]['difference']:.1e}",
            flush=True,
        )
        record["load after"] = _timing.machine()["load"]
        _timing.write(args.out, record)


def _without_graph(network):
    network.answer_and_keep = network.answer
    return network


def _score(task):
    if task == "log_prob":
        return lambda logits: jax.nn.log_softmax(logits)[TARGET]
    return lambda logits: logits[TARGET]


def _jax_run(network, clip, task):
    slope = jax.grad(lambda clip: _score(task)(network(clip)))
    step = lambda clip, _: (clip - 1e-3 * slope(clip), None)  # noqa: E731
    loop = lambda clip: jax.lax.scan(step, clip, length=LOOP)[0]  # noqa: E731
    run, clip = jax.jit(loop if task == "loop" else slope), jnp.asarray(clip)
    return lambda: run(clip)


def _direct(network, clip, task):
    explain, clip = jaxattr.saliency(network, score=task), jnp.asarray(clip)
    return lambda: explain(clip, TARGET).values


def _torch_run(module, layout, clip, task):
    """The same in torch, in one of its memory formats."""
    x = torch.from_numpy(clip)[None].permute(0, 4, 1, 2, 3).contiguous()
    x = x.to(memory_format=layout)
    module = copy.deepcopy(module).to(memory_format=layout)

    def gradient(x):
        given = x.detach().requires_grad_()
        logits = module(given)
        logits = logits.log_softmax(-1) if task == "log_prob" else logits
        return torch.autograd.grad(logits[:, TARGET].sum(), given)[0]

    def run():
        if task != "loop":
            result = gradient(x)
        else:
            result = x
            for _ in range(LOOP):
                result = result - 1e-3 * gradient(result)
        return result[0].permute(1, 2, 3, 0).numpy()

    return run


if __name__ == "__main__":
    main()
