"""Which method finds the evidence, on clips where it is known?

Every method of the table, with the settings that it has there, and four controls that
never ask the network, explain what small networks say of synthetic clips whose cause is
known to the voxel. A cell is a network and a family of clips that it is claimed for,
its clips the first of the split that are certified: the network is right, from the
evidence alone too, and no longer without it.

The primary score is AUPRC, as a macro mean: over families, of means over clips, of
means over networks. A method gets the network, the clip, the target and a key, never
the size of the evidence; with that, `oracle IoU` cuts every map at the true number of
voxels. Tune on "dev", which lacks a family and a network; report on "test".

Each network and method is an evaluation of `jaxattr evaluate` in a folder of its own
below `--out`: a second run does what is missing, a new method enters by being
registered. Methods that cost more than `--costly` gradients explain `--few` clips of a
cell instead of `--clips`, and the metrics that explain again look at `--checked`.
"""

import argparse
import ast
import datetime
import functools
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import _evidence_masking
import _timing
import jax
import pyarrow
from _evidence_cells import (
    check_known,
    choose_families,
    choose_networks,
    claimed,
)
from _evidence_report import access, headline, matrix, rejection
from pyarrow import parquet

import jaxattr_models
from jaxattr import evaluation
from jaxattr.data import evidence
from jaxattr.evaluation._evidence import find_certified
from jaxattr.evaluation._methods import RUNNABLE

QUICK = {
    "families": ["motion"],
    "networks": ["evidence"],
    "methods": ["saliency", "integrated_gradients", "random", "centre"],
    "clips": 4,
}
BASELINE = "integrated_gradients"
INSERTION = {"num_steps": 32, "unit": "block", "block": 4}
MAPS = [
    {"name": "auprc"},
    {"name": "hit", "tolerance": 3.0},
    {"name": "hit", "label": "peak", "tolerance": 3.0, "heatmap": {"quantile": 1.0}},
    {"name": "iou"},
    {"name": "top_k_iou", "label": "oracle IoU"},
    {"name": "energy"},
    {"name": "temporal_iou"},
    {"name": "insertion", **INSERTION},
    {"name": "deletion", **INSERTION},
    *(
        {"name": "insertion", "label": f"insertion, {substitute}"}
        | {**INSERTION, "num_steps": 16, "substitute": substitute}
        for substitute in ("blur", "black", "noise")
    ),
]
CHECKS = [{"name": "sanity_check"}]
KEYS = {"name": "stability", "num_keys": 2}  # 1 for methods that do not draw.
BASELINES = 16  # Clips of the split "train", of all families alike.


class Clips:
    """Samples of one data set or more, rendered once.

    Args:
      *sources: `jaxattr.data.Samples`.
    """

    def __init__(self, *sources):
        self.names = [name for source in sources for name in source.names]
        self._samples = [source[i] for source in sources for i in range(len(source))]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        return self._samples[index]


class Part(NamedTuple):
    """One evaluation: a method for a network, and some metrics."""

    folder: pathlib.Path
    settings: dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    args = _parse(arguments)
    folders, cells = [], {}
    for name, weights in args.networks:
        data = _clips(name, weights, args, cells)
        params = functools.partial(_params, name, weights)
        for part in _parts(name, weights, list(data), args) if data else ():
            if not args.report:
                _say(part.folder.relative_to(args.out))
                evaluation.evaluate(
                    part.settings,
                    part.folder,
                    data=data | {"train": _train(name)},
                    needs={"params": lambda f: params()},  # noqa: B023
                    say=_say,
                )
            if (part.folder / "records.parquet").exists():
                folders.append(part.folder)
        jax.clear_caches()  # Programs of a network that is done: they fill the memory.
    if not folders:
        raise SystemExit("no clip is certified or explained: there is nothing to tell.")
    _write(args, folders, cells)


def _parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=pathlib.Path, required=True, help="folder, made if need be")
    add("--quick", action="store_true", help="one cell, four clips, four methods")
    add("--families", nargs="+", help="of clips (all that a network is claimed for)")
    add("--networks", nargs="+", help="NAME or NAME/WEIGHTS (all)")
    add("--methods", nargs="+", help="and controls (all)")
    add(
        "--variants", nargs="+", default=(), help="'METHOD SETTING=VALUE', more methods"
    )
    add("--split", choices=("dev", "test"), default="test")
    add("--clips", type=int, help="certified ones of each cell (9)")
    add("--few", type=int, default=2, help="clips for costly methods")
    add("--checked", type=int, default=1, help="clips for the metrics of methods")
    add("--report", action="store_true", help="a table of what is done, no more")
    add("--costly", type=float, default=200, help="gradients above which it is")
    args = parser.parse_args(arguments)
    for name, value in QUICK.items() if args.quick else ():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.clips = 9 if args.clips is None else args.clips
    for name in ("clips", "few", "checked"):
        if getattr(args, name) < 1:
            parser.error(f"`--{name}` must be at least 1, got {getattr(args, name)}.")
    args.claimed = args.families is None
    try:
        args.families = choose_families(args.families, args.split)
        args.networks = choose_networks(args.networks, args.split)
        args.methods = choose_methods(args.methods, args.variants)
        _check(args.methods)
    except ValueError as error:
        parser.error(str(error))
    return args


def choose_methods(names=None, variants=()) -> list[dict[str, Any]]:
    """Entries of a settings file: the methods of those names, or all; and variants.

    Raises:
      ValueError: no such method or setting; the nearest names are said.
    """
    for name in names or ():
        check_known("methods", name, RUNNABLE)
    chosen = [{"name": n} for n in RUNNABLE if n in (names or RUNNABLE)]
    return chosen + [_variant(text) for text in variants]


def _variant(text):
    name, _, change = text.partition(" ")
    check_known("variants", name, RUNNABLE)
    setting, _, value = change.partition("=")
    try:
        value = ast.literal_eval(value)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"`variants` must be 'METHOD SETTING=VALUE', got {text!r}: {error}."
        ) from error
    if value == "evidence":
        raise ValueError(f"`variants` {text!r}: no method is told the evidence.")
    return {"name": name, "label": text, setting: value}


def _check(methods):
    """Raises ValueError for settings that cannot be, before anything runs."""
    clips = {"kind": "evidence", "family": "motion", "clips": 2}
    entries = [
        method
        | (
            {"baselines": clips}
            if "baselines" in RUNNABLE[method["name"]].needs
            else {}
        )
        for method in methods
    ]
    evaluation.read_settings(
        {
            "networks": [{"name": "evidence", "weights": "none"}],
            "data": [clips],
            "methods": entries,
            "metrics": [*MAPS, *CHECKS, KEYS],
        },
        needs=("params",),
    )


def _clips(name, weights, args, cells):
    """The certified clips of a network: family -> samples; `cells` gets the counts."""
    f, made = _build(name, weights), {}
    for family in args.families:
        if args.claimed and not claimed(name, family):
            continue
        label, key = f"{name}/{weights}, {family}", evidence.split_key(args.split)
        try:
            found = find_certified(f, family, key, args.clips)
        except ValueError as error:
            _say(f"{label}: {error}")
            continue
        cells[label] = {"looked": found.looked, "rejected": found.rejected}
        _say(f"{label}: {len(found.indices)} clips, {found.rejected:.0%} not certified")
        if found.indices:
            made[family] = Clips(
                evidence.samples(family, split=args.split, indices=found.indices)
            )
    return made


def _build(name, weights):
    return jaxattr_models.build(name, None if weights == "none" else weights)


@functools.cache
def _params(name, weights):
    """The masking model of a network, taught when it is first asked for."""
    return _evidence_masking.taught(_build(name, weights))


@functools.cache
def _train(name):
    """Clips that a reference distribution is drawn from, of families that it knows."""
    count = jaxattr_models.models()[name].num_classes
    known = [n for n in evidence.FAMILIES if evidence.labels(n)[-1] < count]
    num = -(-BASELINES // len(known))
    return Clips(*(evidence.samples(n, split="train", num=num) for n in known))


def _parts(name, weights, families, args) -> Iterator[Part]:
    """The evaluations of a network, those that cost least first."""
    network = {"name": name, "weights": weights}
    methods = sorted(args.methods, key=_gradients)
    for few, metrics in ((False, MAPS), (True, MAPS), (True, CHECKS)):
        for method in methods:
            costly = _gradients(method) > args.costly
            if metrics is MAPS and few != costly:
                continue
            clips = args.few if costly else args.clips
            kind, scores, more = "maps", metrics, {}
            known = RUNNABLE[method["name"]]
            if metrics is CHECKS:
                kind, clips = "checks", args.checked
                scores = CHECKS + [KEYS] * known.random
            if "baselines" in known.needs:
                more["baselines"] = {"kind": "train", "clips": BASELINES}
            label = method.get("label", method["name"])
            yield Part(
                args.out / f"{name}-{weights}" / label.replace("/", "_") / kind,
                {
                    "networks": [network],
                    "data": [{"kind": one, "clips": clips} for one in families],
                    "methods": [method | more],
                    "metrics": scores,
                },
            )


def _gradients(method):
    known = RUNNABLE[method["name"]]
    return known.gradients({**known.settings, **method})


def _write(args, folders, cells):
    """The table of all evaluations, their records, and what they were made with."""
    results = evaluation.read_results(*folders)
    names = [method["name"] for method in args.methods]
    tables = evaluation.tabulate(
        results.records, by="group", baseline=BASELINE if BASELINE in names else None
    )
    parts = [
        evaluation.to_markdown(tables, results.notes, results.scales),
        rejection(cells),
        headline(evaluation.read_results(*folders).records),
        matrix(tables[0], args.methods),
        access(tables[0]),
    ]
    text = "\n".join(parts)
    (args.out / "table.md").write_text(text, "utf-8")
    (args.out / "table.csv").write_text(evaluation.to_csv(tables), "utf-8")
    records = [parquet.read_table(f / "records.parquet") for f in folders]
    parquet.write_table(
        pyarrow.concat_tables(
            (one.replace_schema_metadata() for one in records),
            promote_options="default",
        ),
        args.out / "records.parquet",
        compression="zstd",
    )
    hashes = [json.loads((f / "settings.json").read_text())["hash"] for f in folders]
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": _timing.machine(),
        "split": args.split,
        "cells": cells,
        "reference": {"split": "train", "clips": BASELINES, "families": "all known"},
        "masking model": _evidence_masking.settings(),
        "hashes": {str(f.relative_to(args.out)): h for f, h in zip(folders, hashes)},
    }
    (args.out / "about.json").write_text(json.dumps(about, indent=1), "utf-8")
    print(text)


def _say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
