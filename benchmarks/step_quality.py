"""Does the fast preset of STEP find masks as good as the published optimiser's?

Evidence clips, areas .05, .1, .15 and .5. Reference: `preset="paper"` with expected
ties, 1200 iterations. Beside it the fast preset, the published optimiser compressed to
60 gradients (learning rate and clock 20 times as fast), the fast preset's start alone,
and a centred box. For every area: the probability kept by the mask as it is and by the
binary mask of exactly that area, the published objective at its last iteration, and the
energy inside the exact evidence. Differences are paired; their intervals come from a
bootstrap over clips. Settings are tuned on "dev"; "test" is for the report.
"""

import argparse
import functools
import pathlib
import time

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxattr_models as models
from jaxattr import metrics
from jaxattr.data import evidence
from jaxattr.perturbation import ExtremalConfig, mask_geometry, step
from jaxattr.perturbation._presets import resolve
from jaxattr.perturbation._pyramid import blur_pyramid, show

AREAS = (0.05, 0.1, 0.15, 0.5)
JUDGED = 3  # The first three are held to the target, the last is reported beside.
REFERENCE = "paper"
COMPRESSED = ExtremalConfig(
    num_iterations=60,
    learning_rate=1.0,
    clock=1199 / 59,  # So that the last area weight is the published one.
    ties="expected",
)
FAST = resolve("fast", "volume")
CONFIGS_TRIED = 40  # On "dev", before the preset was fixed.


def main(arguments: list[str] | None = None) -> None:
    args = _parse(arguments)
    network = models.evidence()
    clips = evidence.batch(evidence.split_key(args.split), args.clips)
    runs = {
        REFERENCE: functools.partial(step, preset="paper", ties="expected"),
        "fast": step,
        "compressed": functools.partial(step, preset=COMPRESSED),
        "start": functools.partial(step, num_iterations=1),  # Its one forward pass.
    }
    if args.iterations:
        runs[REFERENCE] = functools.partial(
            runs[REFERENCE], num_iterations=args.iterations
        )
    results = {}
    for name, method in runs.items():
        cache = args.cache and pathlib.Path(args.cache) / f"{args.split}-{name}.npz"
        start = time.perf_counter()
        results[name] = masks_of(
            method(network, areas=AREAS),
            clips,
            args.chunk,
            reward_weight=FAST.reward_weight if name in ("fast", "start") else 1.0,
            cache=cache,
        )
        print(f"# {name}: {time.perf_counter() - start:.0f} s", flush=True)
    shape = clips.clip.shape[1:4]
    boxes = np.stack([centre_box(shape, area) for area in AREAS])
    results["centre"] = {
        "masks": np.stack([boxes] * len(clips.clip)),
        "objective": None,
    }
    results["start"]["objective"] = None  # At the schedule's first weights.
    rows = {name: judge(network, clips, result) for name, result in results.items()}
    record = {
        "machine": _timing.machine(),
        "split": args.split,
        "clips": args.clips,
        "areas": AREAS,
        "reference_iterations": args.iterations or 1200,
        "configs_tried_on_dev": CONFIGS_TRIED,
        "rows": {name: summary(row) for name, row in rows.items()},
        "against_reference": {
            name: compare(row, rows[REFERENCE]) for name, row in rows.items()
        },
    }
    _timing.write(args.out, record)
    print(table(record))


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--clips", type=int, help="how many (16)")
    parser.add_argument("--iterations", type=int, help="of the reference (1200)")
    parser.add_argument("--chunk", type=int, default=4, help="clips side by side")
    parser.add_argument("--cache", help="folder of masks to keep and to re-use")
    parser.add_argument("--quick", action="store_true", help="2 clips, 100 iterations")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(arguments)
    args.clips = args.clips or (2 if args.quick else 16)
    args.iterations = args.iterations or (100 if args.quick else None)
    return args


def masks_of(explain, clips, chunk, *, reward_weight=1.0, cache=None):
    """Masks [N, A, T, H, W] and the published objective at the end [N, A]."""
    num = len(clips.clip)
    if cache and cache.exists():
        saved = np.load(cache)
        if len(saved["masks"]) >= num:
            return {key: saved[key][:num] for key in saved}
    run = jax.jit(jax.vmap(lambda e, c, t: e(c, t), (None, 0, 0)))
    parts = []
    for first in range(0, num, chunk):
        part = slice(first, first + chunk)
        result = run(explain, clips.clip[part], clips.target[part])
        # All runs end at the same weights but for the reward's.
        reward = result.history.reward[..., -1] / reward_weight
        parts.append((result.masks, reward + result.history.regulariser[..., -1]))
    masks, objective = (np.concatenate(x) for x in zip(*parts, strict=True))
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, masks=masks, objective=objective)
    return {"masks": masks, "objective": objective}


def judge(network, clips, result):
    """Scores [N, A] of one method's masks, and [N] of the sum of the judged areas."""
    masks = result["masks"]
    hard = np.stack(
        [[binary(m, a) for m, a in zip(of_clip, AREAS)] for of_clip in masks]
    )
    exact = np.asarray(clips.mask)
    return {
        "kept": _kept(network, clips, masks),
        "kept_binary": _kept(network, clips, hard),
        "objective": result["objective"],
        "energy": np.array(
            [
                [metrics.energy(m, mask).energy for m in of_clip]
                for of_clip, mask in zip(masks, exact)
            ]
        ),
        "energy_of_sum": np.array(
            [
                metrics.energy(of_clip[:JUDGED].sum(0), mask).energy
                for of_clip, mask in zip(masks, exact)
            ]
        ),
    }


def binary(mask, area):
    """Ones at the ⌈area V⌉ largest entries; ties by position."""
    flat = np.zeros(mask.size, np.float32)
    count = int(np.ceil(area * mask.size))
    flat[np.argsort(-mask, axis=None, kind="stable")[:count]] = 1
    return flat.reshape(mask.shape)


def centre_box(shape, area):
    """Masks a box in the middle of the frame, in all frames: it sees no network."""
    _, height, width = shape
    rows, columns = (round(n * area**0.5) for n in (height, width))
    mask = np.zeros(shape, np.float32)
    top, left = (height - rows) // 2, (width - columns) // 2
    mask[:, top : top + rows, left : left + columns] = 1
    return mask


@jax.jit
def _kept_of_clip(network, clip, target, masks):
    pyramid = blur_pyramid(clip, mask_geometry(clip.shape[:3]).blur)
    shown = jax.vmap(lambda mask: show(pyramid, mask))(masks)
    return jax.vmap(lambda x: jax.nn.softmax(network(x))[target])(shown)


def _kept(network, clips, masks):
    return np.stack(
        [
            np.asarray(_kept_of_clip(network, clip, target, jnp.asarray(m)))
            for clip, target, m in zip(clips.clip, clips.target, masks, strict=True)
        ]
    )


def summary(row):
    """Means over clips, by area; medians of the objective."""
    return {
        key: (np.median if key == "objective" else np.mean)(value, axis=0).tolist()
        for key, value in row.items()
        if value is not None
    }


def compare(row, reference):
    """Paired differences to the reference: clips are the units of the bootstrap."""
    judged = slice(None, JUDGED)
    found = {}
    for key in ("kept", "kept_binary", "energy"):
        difference = row[key] - reference[key]
        found[key] = metrics.paired_bootstrap(difference[:, judged].mean(1))._asdict()
        largest = metrics.paired_bootstrap(difference[:, JUDGED:].mean(1))
        found[f"{key}_largest_area"] = largest._asdict()
    difference = row["energy_of_sum"] - reference["energy_of_sum"]
    found["energy_of_sum"] = metrics.paired_bootstrap(difference)._asdict()
    if row["objective"] is not None:
        ratio = row["objective"] / reference["objective"]
        found["objective_ratio"] = {
            "median": float(np.median(ratio[:, judged])),
            "median_by_area": np.median(ratio, axis=0).tolist(),
            "ratio_of_medians": float(
                np.median(row["objective"][:, judged])
                / np.median(reference["objective"][:, judged])
            ),
        }
    return found


def table(record):
    """The record as text."""
    lines = [
        f"{record['clips']} clips of {record['split']}, areas {record['areas']}, "
        f"reference of {record['reference_iterations']} iterations"
    ]
    for key in ("kept", "kept_binary", "objective", "energy"):
        lines.append(f"{key}:")
        for name, row in record["rows"].items():
            if key in row:
                values = "  ".join(f"{x:8.3f}" for x in row[key])
                lines.append(f"  {name:12s} {values}")
    lines.append(f"against {REFERENCE}, first {JUDGED} areas, mean [95 % interval]:")
    for name, found in record["against_reference"].items():
        if name == REFERENCE:
            continue
        parts = [
            f"{key} {found[key]['mean']:+.3f} "
            f"[{found[key]['low']:+.3f}, {found[key]['high']:+.3f}]"
            for key in ("kept", "kept_binary", "energy", "energy_of_sum")
        ]
        if "objective_ratio" in found:
            parts.append(f"objective x{found['objective_ratio']['median']:.2f}")
        lines.append(f"  {name:12s} " + "  ".join(parts))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
