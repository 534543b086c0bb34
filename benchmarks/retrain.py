"""Does a network still learn from what a heat map points at, and from the rest?

Keep and retrain, remove and retrain on one family of evidence clips: a shipped network
explains clips of "train" and "test" for their true class, the clips are degraded by
each map, and a new network of the same kind is trained from random parameters on the
former and tested on the latter. Beside the methods stand the drawn evidence, which no
map can do much better than, and maps that know nothing of the class. A shape that tells
the class by itself is the trap of both numbers: where the hole moves with the ball,
remove and retrain stays high for the best of maps.
"""

import argparse
import datetime
import functools
import tempfile
import time
from typing import Any, NamedTuple

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxattr
import jaxattr_models as models
from jaxattr import metrics
from jaxattr._registry import METHODS
from jaxattr.cli._fit import Recipe, fit
from jaxattr.cli._pool import from_bytes, prepared, shuffled, to_bytes
from jaxattr.data import evidence

METHOD_NAMES = ("integrated_gradients", "smooth_grad", "grad_cam", "step")
CONTROLS = ("random", "centre")
REFERENCE = "random"
NETWORK = "evidence_factored"
RATE = 6e-3  # Peak learning rate; that with which the shipped network was trained.
_CHUNK = 32  # Clips rendered at a time.


class Clips(NamedTuple):
    """Rendered clips.

    Attributes:
      clips: [N, T, H, W, 3] uint8.
      targets: [N].
      masks: [N, T, H, W] bool, the evidence as drawn.
    """

    clips: np.ndarray
    targets: np.ndarray
    masks: np.ndarray


def main(arguments: list[str] | None = None) -> None:
    args = _parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        # Every training compiles the same program. Set before anything is compiled:
        # JAX looks for the folder once.
        jax.config.update("jax_compilation_cache_dir", folder)
        print(markdown(_run(args)))


def _run(args):
    sets = {"train": render("train", args), "test": render("test", args)}
    weights = next(iter(models.models()[NETWORK].weights))
    network = models.build(NETWORK, weights)
    train = functools.partial(fitted, steps=args.steps, batch_size=args.batch)
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": _timing.machine(),
        "settings": {k: v for k, v in vars(args).items() if k != "out"},
        "network": f"{NETWORK} {weights}",
        "chance": float(np.bincount(sets["test"].targets).max() / args.test),
        "rows": {},
    }
    start = time.perf_counter()
    whole = metrics.remove_and_retrain(train, ratios=(0.0,))
    record["whole"] = _numbers(_measure(whole, sets, None, args))
    print(f"# whole clips: {time.perf_counter() - start:.0f} s", flush=True)
    for name in ("evidence", *args.methods, *CONTROLS):
        record["rows"][name] = _row(name, network, sets, train, args)
        _timing.write(args.out, record)  # What is done stays, whatever comes.
    return record


def render(split: str, args: argparse.Namespace) -> Clips:
    """The first clips of a split, as bytes."""
    num, key = getattr(args, split), evidence.split_key(split)
    parts = []
    for start in range(0, num, _CHUNK):
        made = evidence.batch(key, _CHUNK, args.family, start=start)
        parts.append(jax.device_get((to_bytes(made.clip), made.target, made.mask)))
    return Clips(*(np.concatenate(part)[:num] for part in zip(*parts)))


def fitted(clips, targets, *, key, steps, batch_size):
    """A network trained on clips in bytes."""
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    net = models.build(NETWORK, num_classes=len(evidence.LABELS), seed=seed)
    chosen = shuffled(len(clips), batch_size, steps, seed)
    batches = ((clips[at], targets[at], flips) for at, flips in chosen)
    fit(net, batches, prepared, Recipe(RATE, steps, batch_size), lambda *said: None)
    return jax.tree_util.Partial(_answer, net)


def _answer(net, clip):
    return net(from_bytes(clip))


def maps_of(name: str, network: Any, clips: Clips, split: str) -> np.ndarray:
    """Heat maps [N, T, H, W] for the true classes."""
    if name == "evidence":
        return clips.masks.astype(np.float32)
    if name in CONTROLS:
        explain = jaxattr.control(network, kind=name)
        drawing = functools.partial(dict)
    else:
        explain = METHODS[name].transform(network, **METHODS[name].settings)
        drawing = functools.partial(METHODS[name].heatmap, clips.clips.shape[1:])

    @jax.jit
    def one(explain, clip, target, key):
        values = explain(from_bytes(clip), target, key=key).values
        return jaxattr.to_heatmap(values, **drawing()) if drawing() else values

    key = jax.random.fold_in(jax.random.key(0), ("train", "test").index(split))
    return np.stack(
        [
            one(explain, clip, jnp.int32(target), jax.random.fold_in(key, i))
            for i, (clip, target) in enumerate(zip(clips.clips, clips.targets))
        ]
    )


def _row(name, network, sets, train, args):
    start = time.perf_counter()
    maps = {s: maps_of(name, network, clips, s) for s, clips in sets.items()}
    row = {"explain_seconds": time.perf_counter() - start}
    for label, transform in (
        ("kept", metrics.keep_and_retrain),
        ("removed", metrics.remove_and_retrain),
    ):
        measure = transform(train, ratios=args.ratios, num_trainings=args.trainings)
        row[label] = _numbers(_measure(measure, sets, maps, args))
    row["seconds"] = time.perf_counter() - start
    print(f"# {name}: {row['seconds']:.0f} s", flush=True)
    return row


def _measure(measure, sets, maps, args):
    """The same keys for all maps: differences are not of the initial parameters."""
    pairs = [
        metrics.Explained(
            clips.clips,
            np.zeros(clips.masks.shape) if maps is None else maps[split],
            clips.targets,
        )
        for split, clips in sets.items()
    ]
    return measure(*pairs, key=jax.random.key(args.seed))


def _numbers(found: metrics.Retrained) -> dict[str, Any]:
    return {
        "ratios": found.ratios.tolist(),
        "accuracy": found.accuracy.tolist(),
        "low": found.low.tolist(),
        "high": found.high.tolist(),
        "correct": found.correct.mean(1).tolist(),
    }


def markdown(record: dict[str, Any]) -> str:
    """Accuracy of each map and ratio; ▲ ▼ higher or lower than with random maps."""
    ratios = record["settings"]["ratios"]
    heads = [
        "map",
        *(f"keep {r:g}" for r in ratios),
        *(f"remove {r:g}" for r in ratios),
    ]
    lines = [heads, ["---"] * len(heads)]
    for name, row in record["rows"].items():
        line = [name]
        for label in ("kept", "removed"):
            for i in range(len(ratios)):
                mean, low, high = (
                    row[label][k][i] for k in ("accuracy", "low", "high")
                )
                line.append(f"{mean:.3f} [{low:.3f}, {high:.3f}]")
                other = record["rows"].get(REFERENCE)
                if other is not None and name != REFERENCE:
                    paired = metrics.paired_bootstrap(
                        np.array(row[label]["correct"][i]),
                        np.array(other[label]["correct"][i]),
                    )
                    line[-1] += " ▲" * (paired.low > 0) + " ▼" * (paired.high < 0)
        lines.append(line)
    whole, settings = record["whole"], record["settings"]
    text = (
        f"Family `{settings['family']}`, {settings['train']} clips to learn from, "
        f"{settings['test']} to test on, {settings['steps']} steps, "
        f"{settings['trainings']} trainings each; whole clips: "
        f"{whole['accuracy'][0]:.3f} [{whole['low'][0]:.3f}, {whole['high'][0]:.3f}]; "
        f"the most frequent class: {record['chance']:.3f}. Intervals are over test "
        f"clips. ▲ ▼: higher or lower than with `{REFERENCE}` maps, the paired "
        "interval excluding 0. Keep: higher is better; remove: lower is better."
    )
    return text + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few clips, two steps")
    parser.add_argument("--family", default="motion")
    parser.add_argument("--methods", nargs="+", default=list(METHOD_NAMES))
    parser.add_argument("--ratios", nargs="+", type=float, help="(0.02 0.1 0.5)")
    parser.add_argument("--train", type=int, help="clips to learn from (512)")
    parser.add_argument("--test", type=int, help="clips to test on (256)")
    parser.add_argument("--steps", type=int, help="of each training (150)")
    parser.add_argument("--batch", type=int, help="clips in a step (32)")
    parser.add_argument("--trainings", type=int, default=1, help="of each ratio")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(arguments)
    sizes = {"train": 512, "test": 256, "steps": 150, "batch": 32}
    ratios = [0.02, 0.1, 0.5]
    if args.quick:
        sizes, ratios = {"train": 8, "test": 6, "steps": 2, "batch": 4}, [0.1]
        args.methods = args.methods[:1]
    for name, size in sizes.items():
        setattr(args, name, getattr(args, name) or size)
    args.ratios = args.ratios or ratios
    return args


if __name__ == "__main__":
    main()
