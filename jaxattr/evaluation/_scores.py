"""Records as one array: clips x networks x methods x metrics."""

import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxattr._checking import nearest
from jaxattr.evaluation._curves import Paths

COSTS = ("gradients", "seconds", "memory")  # Of an explanation, in every record.


class Missing(NamedTuple):
    """Why there is no score."""

    network: str
    data: str
    group: str
    clip: str
    method: str
    metric: str
    status: str
    message: str


class Scores(NamedTuple):
    """All scores.

    Attributes:
      networks: labels, in the order in which they came; so are the next two.
      methods: likewise.
      metrics: likewise.
      higher: for each metric, whether higher is better.
      clips: (group, data, clip) of every clip.
      values: [N, networks, methods, metrics], NaN where there is no score.
      costs: fields of `COSTS` -> [N, networks, methods], NaN where none is known.
      missing: an entry for each record without a score.
      paths: metric -> those of its records, where they have any; a part has none.
    """

    networks: tuple[str, ...]
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    higher: tuple[bool, ...]
    clips: tuple[tuple[str, str, str], ...]
    values: np.ndarray
    costs: Mapping[str, np.ndarray]
    missing: tuple[Missing, ...]
    paths: Mapping[str, Paths]


def gather(
    records: Iterable[Mapping[str, Any]], metrics: Sequence[str] | None = None
) -> Scores:
    """Collects records.

    Args:
      records: in any order.
      metrics: those to keep, in their order; None keeps all.

    Raises:
      ValueError: there are none, two are of the same explanation and metric, a metric
        has two directions or paths of two lengths, or one of `metrics` is in no record.
    """
    networks, methods, names, clips, higher = {}, {}, {}, {}, {}
    places, values = array.array("q"), array.array("d")
    costs: dict[str, dict[Any, float]] = {name: {} for name in COSTS}
    paths: dict[str, Paths] = {}
    missing, seen = [], set()
    for record in records:
        seen.add(metric := record["metric"])
        if metrics is not None and metric not in metrics:
            continue
        key = tuple(record[field] for field in ("group", "data", "clip"))
        method = _place(methods, record["method"])
        network = _place(networks, record["network"])
        name = _place(names, metric)
        better = record["direction"] == "higher"
        if higher.setdefault(metric, better) != better:
            raise ValueError(f"metric {metric!r} has two directions: rename one.")
        if record["status"] == "ok":
            clip = _place(clips, key)
            for field, known in costs.items():
                if record.get(field) is not None:
                    known[clip, network, method] = record[field]
            places.extend((clip, network, method, name))
            values.append(record["value"])
            if record.get("curve") is not None:
                known_paths = paths.setdefault(metric, Paths())
                known_paths.add((clip, network, method), record)
        else:
            fields = [record[field] for field in Missing._fields[:-1]]
            missing.append(Missing(*fields, record.get("message") or ""))
    if not seen:
        raise ValueError("`records` is empty: no clip is done.")
    wanted = tuple(names) if metrics is None else tuple(metrics)
    for metric in wanted:
        if metric not in seen:
            raise ValueError(
                f"`metrics` has {metric!r}, of which there is no record"
                f"{nearest(metric, seen)}"
            )
    shape = (len(clips), len(networks), len(methods), len(names))
    filled = _filled(shape, np.array(places).reshape(-1, 4), np.array(values))
    if filled is None:
        raise ValueError(
            "two records are of the same network, clip, method and metric: these "
            "folders evaluate the same; give labels to what differs."
        )
    return Scores(
        tuple(networks),
        tuple(methods),
        wanted,
        tuple(higher[metric] for metric in wanted),
        tuple(clips),
        filled[..., [names[metric] for metric in wanted]],
        {name: _at(shape[:3], known) for name, known in costs.items()},
        tuple(missing),
        {metric: paths[metric] for metric in wanted if metric in paths},
    )


def part_of(scores: Scores, by: str, label: str) -> Scores:
    """The scores of one network, data set or group."""
    missing = tuple(m for m in scores.missing if getattr(m, by) == label)
    if by == "network":
        place = [scores.networks.index(label)]
        return scores._replace(
            networks=(label,),
            values=scores.values[:, place],
            costs={name: cost[:, place] for name, cost in scores.costs.items()},
            missing=missing,
            paths={},
        )
    field = ("group", "data").index(by)
    rows = [i for i, clip in enumerate(scores.clips) if clip[field] == label]
    return scores._replace(
        clips=tuple(scores.clips[i] for i in rows),
        values=scores.values[rows],
        costs={name: cost[rows] for name, cost in scores.costs.items()},
        missing=missing,
        paths={},
    )


def labels_of(scores: Scores, by: str) -> tuple[str, ...]:
    """The networks, data sets or groups that have scores."""
    if by == "network":
        return scores.networks
    return tuple(dict.fromkeys(c[("group", "data").index(by)] for c in scores.clips))


def _place(table, label):
    return table.setdefault(label, len(table))


def _at(shape, known):
    out = np.full(shape, np.nan)
    for place, value in known.items():
        out[place] = value
    return out


def _filled(shape, places, values):
    """An array with values in places; None if two are for the same."""
    out = np.full(shape, np.nan)
    if len(places):
        flat = np.ravel_multi_index(tuple(places.T), shape)
        if len(np.unique(flat)) < len(flat):
            return None
        out.flat[flat] = values
    return out
