"""Which metric can be trusted on video? The metrics are measured, not the methods.

On clips for which it is certified that the evidence alone decides, every metric scores
maps of known worth: the evidence as drawn, the interventional truth (what the network
loses without each thing; `_maps.interventional_truth`), a method's map, that map
blurred, noise, blurred noise, edges, motion and the centre. A metric to be trusted
rates the truth above the map, the map above noise, gains little from blurring noise,
follows the maps' similarity to the interventional truth, and does so on every clip
alike. `_audit.judge` has the rule for the last column.

Metrics that compare with a mask are given the evidence as drawn, which they would not
have on other clips; those that ask the network are not. Metrics of one clip share the
random draws between maps.
"""

import argparse
import datetime
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import _audit
import _audit_metrics
import _audit_table
import _maps
import _timing
import jax
import jax.numpy as jnp
import numpy as np
from _evidence_cells import check_known, choose_families, choose_networks

import jaxattr
import jaxattr_models as models
from jaxattr._registry import METHODS
from jaxattr.data import evidence
from jaxattr_models.weights import locate

BLUR = 10 / 112  # Of the height: what the video study blurs its maps with.


def main(arguments: list[str] | None = None) -> None:
    args = _parse(arguments)
    weights = args.weights or next(iter(models.models()[args.network].weights))
    network = jaxattr.fold_convs(models.build(args.network, weights))
    table = _audit_metrics.entries(network, args.steps)
    for name in args.metrics or ():
        check_known("metrics", name, table)
    table = {n: e for n, e in table.items() if n in (args.metrics or table)}
    settings = {
        "network": args.network,
        "weights": weights,
        "sha256": hashlib.sha256(
            locate(args.network, weights).read_bytes()
        ).hexdigest(),
        "split": args.split,
        "clips per family": args.clips,
        "families": args.families,
        "method": args.method,
        "method settings": dict(METHODS[args.method].settings),
        "score of the truth": args.score,
        "maps": _maps.MAPS,
        "metrics": list(table),
        "steps": args.steps,
        "block": _audit_metrics.BLOCK,
        "blur": BLUR,
        "box tolerance": _audit_metrics.BOX_TOLERANCE,
        "road fractions": _audit_metrics.FRACTIONS,
        "jitter": _maps.JITTER,
        "similarity": _audit.ALIKE,
        "few": _audit.FEW,
        "blur allowed": _audit.BLUR,
    }
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": _timing.machine(),
        "settings": settings,
        "settings_sha256": digest(settings),
        "families": {},
        "rows": {},
    }
    clips = {}
    for family in args.families:
        clips[family] = _prepare(network, family, args, record)
        _timing.write(args.out, record)
    for name, entry in table.items():
        record["rows"][name] = _row(name, entry, clips)
        _timing.write(args.out, record)  # What is done stays, whatever comes.
    print(_audit_table.markdown(record))


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4 dev clips, 8 steps")
    parser.add_argument("--clips", type=int, help="certified ones, per family (32)")
    parser.add_argument("--split", choices=("dev", "test"), help="(test)")
    parser.add_argument("--network", default="evidence", help="of jaxattr_models")
    parser.add_argument("--weights", help="(the network's first)")
    parser.add_argument("--families", nargs="+", default=["motion"])
    parser.add_argument("--method", default="integrated_gradients")
    parser.add_argument("--metrics", nargs="+", help="lines of the table (all)")
    parser.add_argument("--steps", type=int, help="of the curves (64)")
    parser.add_argument("--score", default="logit", help="of the interventional truth")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(arguments)
    args.clips = args.clips or (4 if args.quick else 32)
    args.split = args.split or ("dev" if args.quick else "test")
    args.steps = args.steps or (8 if args.quick else 64)
    try:  # Names, and that nothing is tuned on what is only ever tested on.
        args.families = choose_families(args.families, args.split)
        choose_networks([args.network], args.split)
        check_known("method", args.method, METHODS)
    except ValueError as error:
        parser.error(str(error))
    return args


def digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of the settings as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class _Family(NamedTuple):
    cases: list[_maps.Case]
    maps: list[jax.Array]
    keys: list[jax.Array]
    alike: dict[str, np.ndarray]


def _prepare(network, family, args, record) -> _Family:
    """Clips, maps [M, T, H, W], keys, and how alike the maps are to the truth."""
    start = time.perf_counter()
    found = _maps.certified(network, family, args.split, args.clips, score=args.score)
    method = METHODS[args.method]
    explain = method.transform(network, **method.settings)
    controls = _maps.control_maps(network)
    root = jax.random.key(0)
    maps, keys, alike = [], [], []
    for case, truth, index in zip(found.cases, found.truth, found.indices):
        k_maps, k_metrics = jax.random.split(jax.random.fold_in(root, int(index)))
        drawn = _maps.draw(
            explain,
            controls,
            case,
            jnp.asarray(truth),
            k_maps,
            method.make_inputs(case.clip, method.settings),
            heatmap=method.heatmap,
            blur=BLUR * evidence.HEIGHT,
        )
        maps.append(drawn)
        keys.append(k_metrics)
        alike.append(_audit.similarity(np.asarray(drawn), truth))
    alike = {kind: np.stack([a[kind] for a in alike]) for kind in alike[0]}
    record["families"][family] = {
        "indices": found.indices.tolist(),
        "looked at": found.looked_at,
        "rejected": found.rejected,
        "evidence share": float(np.mean([case.mask.mean() for case in found.cases])),
        "similarity": {
            kind: dict(zip(_maps.MAPS, values.mean(0).tolist()))
            for kind, values in alike.items()
        },
        "seconds": time.perf_counter() - start,
    }
    print(f"# {family}: {time.perf_counter() - start:.0f} s", flush=True)
    return _Family(found.cases, maps, keys, alike)


def _row(name, entry, clips):
    start = time.perf_counter()
    scores, chances = {}, []
    for family, known in clips.items():
        rows = []
        for case, maps, key in zip(known.cases, known.maps, known.keys):
            values, chance = entry.measure(case, maps, key)
            rows.append(np.asarray(values, np.float64))
            chances.append(float(chance))
        scores[family] = np.stack(rows)
    alike = {
        kind: np.concatenate([known.alike[kind] for known in clips.values()])
        for kind in next(iter(clips.values())).alike
    }
    row = {"range": entry.range, "chance": _number(np.mean(chances))}
    row |= _audit.judge(np.concatenate(list(scores.values())), entry.higher, alike)
    if len(clips) > 1:
        row["by family"] = {
            family: _audit.judge(table, entry.higher, clips[family].alike)
            for family, table in scores.items()
        }
    row["per clip"] = {
        family: [[_number(value) for value in line] for line in table]
        for family, table in scores.items()
    }
    row["seconds"] = time.perf_counter() - start
    print(f"# {name}: {row['seconds']:.0f} s", flush=True)
    return row


def _number(value):
    return round(float(value), 6) if np.isfinite(value) else None


if __name__ == "__main__":
    main()
