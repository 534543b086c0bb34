"""Which method finds the evidence, on clips where it is known?

Every method of the table, STEP also with areas near the size of the evidence, and three
controls that never see the network explain what the evidence network says of held-out
clips. Scores, with 95 % bootstrap intervals over clips and paired differences to
integrated gradients: hit, AUPRC, energy and temporal IoU of the default heat map (see
`jaxattr.metrics`), and "peak", the hit of the heat map before its outliers are cut,
which makes the largest values equal. Beside them the cost: gradients, and seconds for
one clip, warm. Chance is the row `random`. Methods that draw at random run several
times.
"""

import argparse
import datetime
import functools
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxattr
import jaxattr_models as models
from jaxattr import metrics
from jaxattr._registry import METHODS
from jaxattr.data import evidence

TOLERANCE = 3.0  # Pixels.
BASELINES = 16  # Clips of the split "train".
SMALL_AREAS = (0.01, 0.02, 0.03, 0.05)  # The evidence is 2.4 % of a clip.
SCORES = ("hit", "peak", "auprc", "energy", "temporal_iou")
REFERENCE = "integrated_gradients"
QUICK = ("saliency", "integrated_gradients", "step", "random", "centre", "motion")


class Contender(NamedTuple):
    """One line of the table.

    Attributes:
      explain: as a method's, a pytree.
      heatmap: shape of its values -> settings of `to_heatmap`.
      settings: that it was made with, for the record.
      gradients: evaluations per clip.
      random: whether its answer depends on the key.
    """

    explain: Callable[..., Any]
    heatmap: Callable[[tuple[int, ...]], Mapping[str, Any]]
    settings: Mapping[str, Any]
    gradients: float
    random: bool


class Control(NamedTuple):
    """What a control returns."""

    values: jax.Array


def main(arguments: list[str] | None = None) -> None:
    args = _parse(arguments)
    network = models.evidence(weights=None if args.weights == "none" else args.weights)
    contenders = _contenders(network, args.methods)
    clips = evidence.batch(evidence.split_key(args.split), args.clips)
    predicted = _predict(network, clips.clip, args.chunk)
    right = predicted == np.asarray(clips.target)
    if not right.any():
        raise SystemExit("the network gets every clip wrong: there is nothing to find.")
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": _timing.machine(),
        "weights": args.weights,
        "sha256": _digest(args.weights),
        "split": args.split,
        "clips": args.clips,
        "misclassified": np.flatnonzero(~right).tolist(),
        "counted": int(right.sum()),
        "evidence_share": float(clips.mask[right].mean()),
        "repeats_of_random": args.repeats,
        "tolerance": TOLERANCE,
        "baselines": f"clips 0 to {BASELINES - 1} of train",
        "rows": {},
    }
    per_clip = {}
    for name, contender in contenders.items():
        start = time.perf_counter()
        scores, failed = _score(contender, clips, right, args.chunk, args.repeats)
        per_clip[name] = {key: value.mean(0) for key, value in scores.items()}
        record["rows"][name] = _row(contender, scores, failed)
        print(f"# {name}: {time.perf_counter() - start:.0f} s", flush=True)
        _timing.write(args.out, record)  # What is done stays, whatever comes.
    for name, row in record["rows"].items():
        if REFERENCE in per_clip:
            row["difference"] = {
                key: metrics.paired_bootstrap(per_clip[name][key], reference)._asdict()
                for key, reference in per_clip[REFERENCE].items()
            }
    _time(record, contenders, clips, int(np.flatnonzero(right)[0]), args.rounds)
    _timing.write(args.out, record)
    print(_table(record))


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 clips, few methods")
    parser.add_argument("--clips", type=int, help="how many (128)")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--methods", nargs="+", help="lines of the table (all)")
    parser.add_argument("--weights", default="evidence", help='a file, or "none"')
    parser.add_argument("--repeats", type=int, default=3, help="of random methods")
    parser.add_argument("--rounds", type=int, default=7, help="of timing")
    parser.add_argument("--chunk", type=int, default=16, help="clips side by side")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(arguments)
    args.clips = args.clips or (8 if args.quick else 128)
    args.methods = args.methods or (QUICK if args.quick else None)
    return args


def _contenders(network, chosen) -> dict[str, Contender]:
    """All lines of the table, in its order, or those that are chosen."""
    lines = {}
    for name, method in METHODS.items():
        unknown = set(method.needs) - {"baselines"}
        if unknown:
            raise SystemExit(f"say here what {name} gets as {', '.join(unknown)}.")
        lines[name] = functools.partial(_method, network, method, method.settings)
    small = {**METHODS["step"].settings, "areas": SMALL_AREAS}
    lines["step, small areas"] = functools.partial(
        _method, network, METHODS["step"], small
    )
    for name, control, random in (
        ("random", _random, True),
        ("centre", _centre, False),
        ("motion", _motion, False),
    ):
        lines[name] = functools.partial(
            Contender, jax.tree_util.Partial(control), _plain, {}, 0, random
        )
    unknown = set(chosen or ()) - set(lines)
    if unknown:
        raise SystemExit(f"no line {sorted(unknown)}; there are {list(lines)}.")
    return {name: make() for name, make in lines.items() if name in (chosen or lines)}


def _method(network, method, settings):
    given = dict(settings)
    if "baselines" in method.needs:
        train = evidence.batch(evidence.split_key("train"), BASELINES)
        given["baselines"] = train.clip
    explain = method.transform(network, **given)
    gradients = method.gradients(settings)
    return Contender(explain, method.heatmap, settings, gradients, method.random)


def _random(clip, target, *, key):
    return Control(jax.random.normal(key, clip.shape[:3], clip.dtype))


def _centre(clip, target, *, key):
    """A Gaussian around the middle, a sixth of each side wide."""
    axes = [jnp.linspace(-3, 3, size, dtype=clip.dtype) for size in clip.shape[:3]]
    t, y, x = jnp.meshgrid(*axes, indexing="ij")
    return Control(jnp.exp(-(t**2 + y**2 + x**2) / 2))


def _motion(clip, target, *, key):
    """Absolute difference to the frame before; the first copies the second."""
    change = jnp.abs(jnp.diff(clip, axis=0)).mean(-1)
    return Control(jnp.concatenate([change[:1], change]))


def _plain(shape):
    return {}


def _predict(network, clips, chunk):
    predict = jax.jit(lambda network, clips: network(clips).argmax(-1))
    return _in_chunks(lambda ids: predict(network, clips[ids]), len(clips), chunk)


def _in_chunks(run, num, chunk):
    """Concatenates `run(ids)` over chunks of one size: the last one repeats a clip."""
    parts = []
    for start in range(0, num, chunk):
        ids = np.minimum(np.arange(start, start + chunk), num - 1)
        part = jax.tree.map(lambda a: np.asarray(a)[: num - start], run(ids))  # noqa: B023
        parts.append(part)
    return jax.tree.map(lambda *a: np.concatenate(a), *parts)


def _score(contender, clips, right, chunk, repeats):
    """Name -> [repeats, clips counted], and on how many clips there was no number."""
    scores, failed = {key: [] for key in SCORES}, 0
    masks, windows = np.asarray(clips.mask), np.asarray(clips.window)
    for repeat in range(repeats if contender.random else 1):
        key = jax.random.fold_in(jax.random.key(0), repeat)

        def run(ids, key=key):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(ids))
            inputs = clips.clip[ids], clips.target[ids], keys
            return _explain(contender.explain, *inputs, heatmap=contender.heatmap)

        heats, uncut, finite = _in_chunks(run, len(masks), chunk)
        failed += int((~finite[right]).sum())
        rows = {key: [] for key in SCORES}
        for i in np.flatnonzero(right):
            near = functools.partial(metrics.hit, truth=masks[i], tolerance=TOLERANCE)
            rows["hit"].append(near(heats[i]).hit)
            rows["peak"].append(near(uncut[i]).hit)
            rows["auprc"].append(metrics.auprc(heats[i], masks[i]).auprc)
            rows["energy"].append(metrics.energy(heats[i], masks[i]).energy)
            rows["temporal_iou"].append(metrics.temporal_iou(heats[i], windows[i]).iou)
        for name, values in rows.items():
            scores[name].append(values)
    return {key: np.array(value, np.float64) for key, value in scores.items()}, failed


@functools.partial(jax.jit, static_argnames="heatmap")
def _explain(explain, clips, targets, keys, *, heatmap):
    """Heat maps [B, T, H, W], the same without cutting outliers, who is finite [B]."""

    def one(clip, target, key):
        values = explain(clip, target, key=key).values
        settings = heatmap(values.shape)
        whole = {**settings, "quantile": 1.0}
        return (
            jaxattr.to_heatmap(values, **settings),
            jaxattr.to_heatmap(values, **whole),
            jnp.isfinite(values).all(),
        )

    return jax.vmap(one)(clips, targets, keys)


def _row(contender, scores, failed):
    shape = (evidence.NUM_FRAMES, evidence.HEIGHT, evidence.WIDTH)
    row = {
        "settings": dict(contender.settings),
        "heatmap": dict(contender.heatmap(shape)),
        "gradients": contender.gradients,
        "not_finite": failed,
    }
    for key, values in scores.items():
        row[key] = metrics.paired_bootstrap(values.mean(0))._asdict()
        if len(values) > 1:
            row[key]["spread_over_keys"] = float(values.mean(1).std(ddof=1))
    return row


def _time(record, contenders, clips, index, rounds):
    clip, target = clips.clip[index], int(clips.target[index])
    record["load before timing"] = _timing.machine()["load"]
    runs = {
        name: functools.partial(c.explain, clip, target, key=jax.random.key(0))
        for name, c in contenders.items()
        if c.gradients
    }
    for name, seconds in _timing.medians(_timing.interleaved(runs, rounds)).items():
        record["rows"][name]["seconds"] = seconds
    record["load after timing"] = _timing.machine()["load"]


def _digest(weights):
    if weights == "none":
        return None
    path = models.fetch("evidence", weights) if weights == "evidence" else weights
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _table(record):
    """The record as Markdown: one line a method, best in AUPRC first."""
    machine = record["machine"]
    loads = (record["load before timing"][0], record["load after timing"][0])
    lines = [
        f"{record['counted']} of {record['clips']} clips of `{record['split']}` "
        f"({len(record['misclassified'])} misclassified, left out); evidence "
        f"{record['evidence_share']:.1%} of the voxels; {record['date']}, "
        f"{machine['device']} ({machine['processor']}, {machine['cores']} cores), "
        f"load {loads[0]:.1f} to {loads[1]:.1f} while timing, jax {machine['jax']}; "
        f"weights `{record['weights']}`, SHA-256 {str(record['sha256'])[:12]}. "
        "Means with 95 % bootstrap intervals, larger is better; ▲ ▼: better or worse "
        f"than `{REFERENCE}`, the paired interval excluding 0.",
        "",
        "| method | hit | peak | AUPRC | energy | temporal IoU | gradients | seconds |",
        "|---" * 8 + "|",
    ]
    rows = record["rows"]
    for name in sorted(rows, key=lambda name: -rows[name]["auprc"]["mean"]):
        row = rows[name]
        areas = row["settings"].get("areas")
        label = f"{name} ({', '.join(map(str, areas))})" if areas else name
        label += f" — {row['not_finite']} not finite" if row["not_finite"] else ""
        cells = [_cell(row, key) for key in SCORES]
        seconds = row.get("seconds", math.nan)
        cost = [f"{row['gradients']:g}", f"{seconds:.3g}"] if row["gradients"] else "––"
        lines.append(f"| {' | '.join([label, *cells, *cost])} |")
    return "\n".join(lines)


def _cell(row, key):
    estimate, difference = row[key], row.get("difference", {}).get(key)
    mark = ""
    if difference is not None:
        mark = " ▲" * (difference["low"] > 0) + " ▼" * (difference["high"] < 0)
    text = "{mean:.2f} [{low:.2f}, {high:.2f}]".format(**estimate)
    return text + mark


if __name__ == "__main__":
    main()
