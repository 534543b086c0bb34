"""Records as an evaluation writes them, made of random numbers."""

import itertools
import json

import numpy as np

DIRECTIONS = {"auprc": "higher", "deletion": "lower", "hit": "higher"}


def record(clip, method, metric, value, network, group="motion", **other):
    """One record."""
    return {
        "network": network,
        "data": "evidence",
        "group": group,
        "clip": f"clip-{clip}",
        "index": clip,
        "target": 1,
        "method": method,
        "metric": metric,
        "value": value,
        "direction": DIRECTIONS.get(metric, "higher"),
        "seconds": 0.5,
        "status": "ok",
        **other,
    }


def make(num_clips=5, num_methods=4, seed=0):
    """Two networks, two groups; a torn clip, a refusal, and one that is not finite."""
    rng = np.random.default_rng(seed)
    methods = ["random", "a", "b", "c", *"defghij"][:num_methods]
    sizes = {"motion": num_clips, "order": num_clips - 1}
    found = []
    for network, (group, size) in itertools.product(("conv", "lstm"), sizes.items()):
        for clip in range(size):
            for place, method in enumerate(methods):
                for metric in DIRECTIONS:
                    value = float(rng.normal() + place / 2)
                    name = f"{group}-{clip}"
                    seconds = 10.0 ** (place - 2)
                    made = record(clip, method, metric, value, network, group)
                    made |= {"clip": name, "seconds": seconds}
                    if (method, metric) == ("c", "hit"):
                        why = {"status": "refused", "message": "no boxes"}
                        made |= {"value": None, **why}
                    if (network, name, method) == ("lstm", "order-1", "a"):
                        made |= {"value": None, "status": "not finite"}
                    found.append(made)
        if group == "motion":
            found += _torn(network, methods)
    return found


def _torn(network, methods):
    why = {"status": "undecodable", "message": "torn", "clip": "torn", "seconds": None}
    why |= {"gradients": 2.0}  # Of the method's settings, whatever the clip.
    return [
        record(99, method, metric, None, network, "evidence") | why
        for method, metric in itertools.product(methods, DIRECTIONS)
    ]


def write(out, records):
    """A folder of an evaluation of `conv` that is not done."""
    settings = {
        "networks": {"conv": {}, "lstm": {}},
        "data": {"evidence": {}, "others": {}},
        "methods": dict.fromkeys(r["method"] for r in records),
        "metrics": {r["metric"]: {"name": r["metric"]} for r in records},
    }
    clips = {
        "conv": {
            "evidence": {"num": 12, "refused": None},
            "others": {"num": 0, "refused": "`family` is unknown"},
        }
    }
    kept = {"settings": settings, "clips": clips}
    (out / "settings.json").write_text(json.dumps(kept), "utf-8")
    names = list(dict.fromkeys(r["clip"] for r in records))
    for i in range(2):
        lines = [
            json.dumps({**r, "index": names.index(r["clip"])})
            for name in names[i::2]
            for r in records
            if r["clip"] == name
        ]
        (out / f"records-{i}of2.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for r in records:
        r["index"] = names.index(r["clip"])
