"""How long does STEP take, against our PyTorch writing of the published optimiser?

One iteration on R(2+1)D-18 (16x112x112, area .1) and on the evidence network (areas
.05, .1, .15, .5): ours without and with the published shuffle, torch in both memory
formats with frozen parameters, interleaved, medians. Then a whole run, once per round:
our fast preset and torch's compression to 60 gradients, with what each keeps; torch's
published 1200 iterations from the time of one. Quality on many clips is the matter of
`step_quality`. Compiled memory of the fast preset is set against the plain gradient's,
for areas x clips of 1, 4 and 8.
"""

import argparse
import dataclasses
import statistics

import _timing
import _torch_networks
import jax
import jax.numpy as jnp
import numpy as np
from _torch_networks import FORMATS, torch
from torch_step import Sizes, TorchStep

from jaxattr.data import evidence
from jaxattr.perturbation import mask_geometry, step
from jaxattr.perturbation._presets import resolve
from jaxattr.program import trace

FAST = resolve("fast", "volume")
LOOP = 4  # Iterations between the two runs whose difference is timed.


@dataclasses.dataclass(frozen=True)
class Case:
    """A network in both worlds, one clip and its areas."""

    network: object
    module: object
    clip: np.ndarray  # [T, H, W, C]
    target: int
    areas: tuple[float, ...]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8x56x56, 3 rounds")
    parser.add_argument("--rounds", type=int, help="of one iteration (7)")
    parser.add_argument("--whole", type=int, default=3, help="rounds of whole runs")
    parser.add_argument("--cases", nargs="+", default=["evidence", "r2plus1d_18"])
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(arguments)
    rounds = args.rounds or (3 if args.quick else 7)
    record = {"machine": _timing.machine(), "quick": args.quick, "rounds": rounds}
    print(record["machine"], flush=True)
    for name in args.cases:
        case = _case(name, args.quick)
        row = record[name] = {"clip": case.clip.shape, "areas": case.areas}
        row["iteration"] = _iteration(case, rounds)
        print(_iteration_line(name, row["iteration"]), flush=True)
        _timing.write(args.out, record)  # What is done stays, whatever comes.
        if args.whole and not args.quick:
            row["whole"] = _whole(case, row["iteration"], args.whole)
            print(_whole_line(name, row["whole"]), flush=True)
        if name != "evidence":
            row["memory"] = _memory(case)
            print(_memory_line(row["memory"]), flush=True)
    record["load after"] = _timing.machine()["load"]
    _timing.write(args.out, record)


def _case(name, quick):
    if name == "evidence":
        network, module = _torch_networks.evidence()
        one = evidence.render(jax.random.fold_in(evidence.split_key("dev"), 0))
        areas = (0.05, 0.1, 0.15, 0.5)
        return Case(network, module, np.asarray(one.clip), int(one.target), areas)
    network, module = _torch_networks.torchvision(name)
    shape = (8, 56, 56, 3) if quick else (16, 112, 112, 3)
    clip = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.no_grad():
        target = int(module(_to_torch(clip)[None]).argmax())
    return Case(network, module, clip, target, (0.1,))


def _iteration(case, rounds):
    """Seconds of one iteration, medians; for ours of the differences of two runs."""
    explains = {}
    for ties in ("expected", "shuffle"):
        for num in (1, 1 + LOOP):
            config = dataclasses.replace(
                FAST, warm_levels=(), num_iterations=num, ties=ties
            )
            explains[ties, num] = step(case.network, areas=case.areas, preset=config)
    clip, key = jnp.asarray(case.clip), jax.random.key(0)
    runs = {
        name: lambda explain=explain: explain(clip, case.target, key=key)
        for name, explain in explains.items()
    }
    for name, layout in FORMATS.items():
        runs[name] = _torch_run(case, layout, start=101).iterate
    seconds = _timing.interleaved(runs, rounds)
    found = {name: statistics.median(seconds[name]) for name in FORMATS}
    for ties, name in (("expected", "jaxattr"), ("shuffle", "jaxattr shuffled")):
        pairs = zip(seconds[ties, 1], seconds[ties, 1 + LOOP], strict=True)
        found[name] = statistics.median((long - one) / LOOP for one, long in pairs)
    found["ratio"] = found["jaxattr"] / min(found[name] for name in FORMATS)
    return found


def _torch_run(case, layout, *, start=0, **settings):
    """A run in torch; `start` is the first published iteration (the core is on)."""
    geometry = mask_geometry(case.clip.shape[:3])
    fields = (field.name for field in dataclasses.fields(Sizes))
    run = TorchStep(
        case.module.to(memory_format=layout),
        _to_torch(case.clip),
        case.target,
        case.areas,
        Sizes(**{name: getattr(geometry, name) for name in fields}),
        memory_format=layout,
        **settings,
    )
    run.iteration = start
    return run


def _whole(case, iteration, rounds):
    """Seconds and kept probability of whole runs."""
    explain = step(case.network, areas=case.areas)
    best = min(FORMATS, key=iteration.get)
    kept = {}

    def ours():
        result = explain(jnp.asarray(case.clip), case.target)
        kept["fast"] = np.asarray(result.kept).tolist()
        return result

    def compressed():
        run = _torch_run(case, FORMATS[best], rate=20.0, clock=1199 / 59)
        for _ in range(60):
            masks, reward, _ = run.iterate()
        kept["torch, 60 gradients"] = torch.exp(-reward).tolist()
        return masks.numpy()

    runs = {"fast": ours, "torch, 60 gradients": compressed}
    seconds = _timing.medians(_timing.interleaved(runs, rounds))
    seconds["torch, 1200 gradients (from one)"] = 1200 * iteration[best]
    return {"seconds": seconds, "kept": kept}


def _memory(case):
    """Compiled temporary bytes: fast preset and plain gradient at the same batch."""
    rows = []
    clip = jnp.asarray(case.clip)
    for num_areas, num_clips in ((1, 1), (4, 1), (1, 4), (4, 2)):
        batch = num_areas * num_clips
        areas = (0.05, 0.1, 0.15, 0.5)[:num_areas]
        explain = step(case.network, areas=areas)
        targets = jnp.full(num_clips, case.target)
        ours = jax.jit(jax.vmap(lambda e, c, t: e(c, t), (None, 0, 0)))
        ours = ours.lower(explain, jnp.stack([clip] * num_clips), targets)
        plain = jax.jit(_gradients).lower(case.network, jnp.stack([clip] * batch))
        sizes = [
            x.compile().memory_analysis().temp_size_in_bytes for x in (ours, plain)
        ]
        rows.append(
            {
                "areas": num_areas,
                "clips": num_clips,
                "step": sizes[0],
                "gradient": sizes[1],
                "ratio": sizes[0] / sizes[1],
            }
        )
    return rows


def _gradients(network, clips):
    traced = trace(network, clips[0])
    return jax.vmap(jax.grad(lambda clip: traced(clip)[0]))(clips)


def _to_torch(clip):
    return torch.from_numpy(np.array(clip)).permute(3, 0, 1, 2).contiguous()


def _iteration_line(name, found):
    cells = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
    return f"{name}: one iteration, seconds: {cells}"


def _whole_line(name, found):
    lines = [f"{name}: a whole run"]
    for key, value in found["seconds"].items():
        kept = " ".join(f"{p:.3f}" for p in found["kept"].get(key, []))
        lines.append(f"  {key:34s} {value:9.1f} s   kept {kept}")
    return "\n".join(lines)


def _memory_line(rows):
    lines = ["areas  clips  fast MB  gradient MB  ratio"]
    for row in rows:
        lines.append(
            f"{row['areas']:5d}  {row['clips']:5d}  {row['step'] / 1e6:7.0f}"
            f"  {row['gradient'] / 1e6:11.0f}  {row['ratio']:5.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
