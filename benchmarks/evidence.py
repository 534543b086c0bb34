"""Which method finds the evidence, on clips where it is known?

Every method of the table, with the settings that it has there, and four controls that
never ask the network, explain what small networks say of synthetic clips whose cause is
known to the voxel. A cell is a family of clips and a network; its clips are the first
of the split that are certified: the network is right, from the evidence alone too, and
no longer without it. How many are not is published beside the scores.

The primary score is AUPRC, as a macro mean: over families, of means over clips. A
method gets the network, the clip, the target and a key, never the size of the evidence.
What it would reach with it stands apart, in one "oracle area" line for each method.
Tune on "dev", which lacks a family and a network; report on "test". Results are written
as they come, and a second run with the same file does only what is missing there.
"""

import argparse
import datetime
import functools
import sys
import time

import _timing
import jax
from _evidence_cells import (
    choose_families,
    choose_networks,
    claimed,
    load,
    make_cell,
)
from _evidence_lines import choose_lines
from _evidence_record import digest, read_rows, row_settings, write
from _evidence_scores import score_line
from _evidence_table import markdown, summarise

QUICK = {
    "families": ["motion"],
    "networks": ["evidence"],
    "methods": ["saliency", "integrated_gradients", "random", "centre"],
    "clips": 4,
    "rounds": 0,
}
FULL = {"families": None, "networks": None, "methods": None, "clips": 32, "rounds": 7}


def main(arguments: list[str] | None = None) -> None:
    args = _parse(arguments)
    done = {}
    for path in (args.out, *args.reuse):
        done |= read_rows(path)
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": _timing.machine(),
        "split": args.split,
        "cells": [],
    }
    timed = None
    for network in (load(*pair) for pair in args.networks):
        for family in args.families:
            if args.claimed and not claimed(network.label, family):
                continue
            cell = make_cell(network, family, args.split, args.clips)
            if cell is None:
                _say(f"{network.label} has no classes for {family}")
                continue
            rows = _start(record, cell)
            for line in args.methods if len(cell.indices) else ():
                settings = row_settings(line, cell, args.split, args.repeats)
                row = done.get(digest(settings)) or _score(line, cell, settings, args)
                rows[line.name] = row
                write(args.out, record)  # What is done stays, whatever comes.
            timed = timed or ((cell, rows) if rows else None)
        jax.clear_caches()  # Programs of a network that is done: they fill the memory.
    if timed is None:
        raise SystemExit("no clip is certified: there is nothing to find.")
    hashes = [row["hash"] for cell in record["cells"] for row in cell["rows"].values()]
    record["hash"] = digest(hashes)
    record["table"] = summarise(record)
    write(args.out, record)
    if args.rounds:
        record["seconds"] = _seconds(*timed, args)
    write(args.out, record)
    print(markdown(record))


def _parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few clips, few methods")
    parser.add_argument(
        "--families", nargs="+", help="of clips (all that a network knows)"
    )
    parser.add_argument("--networks", nargs="+", help="NAME or NAME/WEIGHTS (all)")
    parser.add_argument("--methods", nargs="+", help="and controls (all)")
    parser.add_argument(
        "--variants", nargs="+", default=(), help="'METHOD SETTING=VALUE', more lines"
    )
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--clips", type=int, help="certified ones of each cell (32)")
    parser.add_argument("--repeats", type=int, default=3, help="of random methods")
    parser.add_argument("--rounds", type=int, help="of timing (7); 0 for none")
    parser.add_argument("--chunk", type=int, default=8, help="clips side by side")
    parser.add_argument("--out", help="JSON file to write, and to resume from")
    parser.add_argument(
        "--reuse", nargs="+", default=(), help="files of other runs, to join them"
    )
    args = parser.parse_args(arguments)
    for name, value in (QUICK if args.quick else FULL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("clips", "repeats", "chunk"):
        if getattr(args, name) < 1:
            parser.error(f"`--{name}` must be at least 1, got {getattr(args, name)}.")
    args.chunk = min(args.chunk, args.clips)
    args.claimed = args.families is None
    try:
        args.families = choose_families(args.families, args.split)
        args.networks = choose_networks(args.networks, args.split)
        args.methods = choose_lines(args.methods, args.variants)
    except ValueError as error:
        parser.error(str(error))
    return args


def _start(record, cell):
    """Adds a cell to the record, and returns where its rows go."""
    some = len(cell.indices) > 0
    entry = {
        "family": cell.family,
        "network": cell.network.label,
        "sha256": cell.network.sha256,
        "samples": cell.indices.tolist(),
        "looked": cell.looked,
        "rejected": cell.rejected,
        "evidence_share": float(cell.clips.mask.mean()) if some else None,
        "rows": {},
    }
    record["cells"].append(entry)
    _say(
        f"{cell.network.label}, {cell.family}: {len(cell.indices)} clips, "
        f"{cell.rejected:.1%} of {cell.looked} not certified"
    )
    return entry["rows"]


def _score(line, cell, settings, args):
    """A row of the record: the scores, or why there are none."""
    start = time.perf_counter()
    row = {
        "hash": digest(settings),
        "settings": settings["settings"],
        "heatmap": settings["heatmap"],
        "gradients": line.gradients,
    }
    try:
        row |= score_line(line, cell, args.repeats, args.chunk)
    except (TypeError, ValueError, NotImplementedError) as error:
        row["refused"] = str(error).partition("\n")[0]
    _say(f"  {line.name}: {time.perf_counter() - start:.0f} s")
    return row


def _seconds(cell, rows, args):
    """Median seconds of one explanation of one clip, warm, the lines interleaved."""
    clip, target = cell.clips.clip[0], int(cell.clips.target[0])
    runs = {}
    for line in args.methods:
        if line.gradients and "refused" not in rows[line.name]:
            explain = line.method(cell.family, cell.network.f)(cell.network.f)
            key = jax.random.key(0)
            inputs = {k: v[0] for k, v in line.make_inputs(clip[None]).items()}
            runs[line.name] = functools.partial(
                explain, clip, target, key=key, **inputs
            )
    before = _timing.machine()["load"]
    medians = _timing.medians(_timing.interleaved(runs, args.rounds))
    return {
        "network": cell.network.label,
        "rounds": args.rounds,
        "load before": before,
        "load after": _timing.machine()["load"],
        "lines": medians,
    }


def _say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
