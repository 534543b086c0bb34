"""Explains the clips of a cell, and scores what comes.

Two steps: a method sees clip, target and key; where the evidence is, only the scores
are told. The exception are the oracle scores, which say so.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _evidence_cells import Cell
from _evidence_lines import Line

import jaxattr
from jaxattr import metrics
from jaxattr._registry import given
from jaxattr.data import evidence

TOLERANCE = 3.0  # Pixels beside the evidence that still are a hit.
INSERTION = {"num_steps": 32, "unit": "block", "block": 4, "score": "prob"}
FEW = 8  # Clips of a cell for sanity check and stability, its first.
GREY_LEVEL = 1 / 255 / evidence.STD  # In network units.
SCORES = ("auprc", "hit", "peak", "iou", "energy", "temporal_iou", "insertion")
ORACLE = ("iou", "temporal_iou")


class Heats(NamedTuple):
    """Heat maps [n, T, H, W], their outliers cut and not, and who is finite, [n]."""

    cut: np.ndarray
    uncut: np.ndarray
    finite: np.ndarray


def score_line(line: Line, cell: Cell, repeats: int, chunk: int) -> dict[str, Any]:
    """All scores of one line on one cell: name -> one value for every clip.

    "sanity" and "stability" have one for each of the first `FEW` clips, None where the
    rank correlation is not defined. An explanation that is not finite scores 0.

    Raises:
      ValueError: the method does not take this network.
      TypeError: likewise.
      NotImplementedError: likewise.
    """
    method = line.method(cell.family, cell.network.f)
    few = min(FEW, len(cell.indices))
    explain = method(cell.network.f)
    scores, oracles, not_finite = [], [], 0
    first = None
    for repeat in range(repeats if line.random else 1):
        heats = _heat_maps(line, explain, cell, cell.clips.clip, repeat, chunk)
        first = first or heats
        not_finite += int((~heats.finite).sum())
        scores.append(_measure_all(heats, cell))
        if not line.takes_areas:
            oracles.append(_thresholded(heats, cell))
    some = cell.clips.clip[:few]
    again = _heat_maps(line, explain, cell, _noisy(some), repeats, chunk)
    if line.takes_areas:
        oracles.append(_thresholded(_told(line, cell), cell))
    return {
        "not_finite": not_finite,
        "scores": _mean(scores),
        "spread_over_keys": _spread(scores),
        "stability": _correlations(first.uncut[:few], again.uncut),
        "sanity": _sanity(line, method, cell, some, chunk),
        "oracle": {"told": "areas" if line.takes_areas else "threshold"}
        | _mean(oracles),
    }


def _heat_maps(line, explain, cell, clips, repeat, chunk) -> Heats:
    """Explains clips, which are those of the cell or look like the first of them."""
    explain = functools.partial(_explain, explain, heatmap=line.heatmap)
    return _in_chunks(explain, line, cell, clips, repeat, chunk)


def _in_chunks(g, line, cell, clips, repeat, chunk):
    """`g(clips, targets, keys, inputs)` on every clip, as NumPy arrays."""
    key = jax.random.fold_in(jax.random.key(0), repeat)
    targets, num, parts = np.asarray(cell.clips.target), len(clips), []
    inputs = line.make_inputs(clips)
    for start in range(0, num, chunk):
        # Chunks of one size compile once: the last one repeats a clip.
        at = np.minimum(np.arange(start, start + chunk), num - 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, cell.indices[at])
        made = {name: values[at] for name, values in inputs.items()}
        part = g(clips[at], targets[at], keys, made)
        parts.append(jax.tree.map(lambda a: np.asarray(a)[: num - start], part))  # noqa: B023
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


@functools.partial(jax.jit, static_argnames="heatmap")
def _explain(explain, clips, targets, keys, inputs, *, heatmap):
    def one(clip, target, key, inputs):
        values = explain(clip, target, key=key, **inputs).values
        settings = heatmap(values.shape)
        return Heats(
            jaxattr.to_heatmap(values, **settings),
            jaxattr.to_heatmap(values, **{**settings, "quantile": 1.0}),
            jnp.isfinite(values).all(),
        )

    return jax.vmap(one)(clips, targets, keys, inputs)


def _measure_all(heats, cell):
    insert = metrics.insertion(cell.network.f, **INSERTION)
    clips = cell.clips
    truth = clips.clip, clips.target, clips.mask, clips.window
    return jax.tree.map(np.asarray, _measure(insert, heats, *truth))


@jax.jit
def _measure(insert, heats, clips, targets, masks, windows):
    """Name -> [n], one clip after the other."""

    def one(args):
        (heat, uncut, finite), clip, target, mask, window = args
        # A method may not know how large the evidence is, so neither may this.
        hot = heat >= heat.max() / 2
        both, either = (hot & mask).sum(), (hot | mask).sum()
        scores = {
            "auprc": metrics.auprc(heat, mask).auprc,
            "hit": metrics.hit(heat, mask, tolerance=TOLERANCE).hit,
            "peak": metrics.hit(uncut, mask, tolerance=TOLERANCE).hit,
            "iou": both.astype(heat.dtype) / either.astype(heat.dtype),
            "energy": metrics.energy(heat, mask).energy,
            "temporal_iou": metrics.temporal_iou(heat, window).iou,
            "insertion": insert(clip, target, heat).auc,
        }
        return {k: jnp.where(finite, v, 0) for k, v in scores.items()}

    return jax.lax.map(one, (heats, clips, targets, masks, windows))


def _thresholded(heats, cell):
    clips = cell.clips
    scores = _oracle(heats, clips.mask, clips.window)
    return jax.tree.map(np.asarray, scores)


@jax.jit
def _oracle(heats, masks, windows):
    """Scores of as many voxels as the evidence has, the hottest."""

    def one(args):
        (heat, _, finite), mask, window = args
        least = jnp.sort(heat.ravel())[heat.size - mask.sum()]
        hottest = (heat >= least).astype(heat.dtype)
        scores = {
            "iou": metrics.top_k_iou(heat, mask).iou,
            "temporal_iou": metrics.temporal_iou(hottest, window).iou,
        }
        return {k: jnp.where(finite, v, 0) for k, v in scores.items()}

    return jax.lax.map(one, (heats, masks, windows))


def _told(line, cell):
    """Heat maps of a method that is told the share of evidence in every clip."""
    parts = []
    for i, index in enumerate(cell.indices):
        share = float(cell.clips.mask[i].mean())
        told = line._replace(settings={**line.settings, "areas": (share,)})
        one = cell._replace(
            indices=np.array([index]),
            clips=jax.tree.map(lambda a: a[i : i + 1], cell.clips),  # noqa: B023
        )
        explain = told.method(cell.family, cell.network.f)(cell.network.f)
        parts.append(_heat_maps(told, explain, one, one.clips.clip, 0, 1))
    return Heats(*(np.concatenate(arrays) for arrays in zip(*parts)))


def _noisy(clips):
    """Clips with uniform noise of at most one grey level."""
    noise = jax.random.uniform(
        jax.random.key(1), clips.shape, clips.dtype, minval=-1, maxval=1
    )
    return clips + jnp.asarray(GREY_LEVEL, clips.dtype) * noise


def _correlations(some, others):
    pairs = zip(some.reshape(len(some), -1), others.reshape(len(others), -1))
    return [_number(_rank_correlation(*pair)) for pair in pairs]


def _rank_correlation(a, b):
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    return metrics.rank_correlation(np.stack([a, b], 1))[0, 1]


def _sanity(line, method, cell, clips, chunk):
    """Rank correlation of |values| when the head forgets what it learnt."""
    select = _of_layer(cell.network.head)

    def one(clip, target, key, inputs):
        bound = given(method, inputs) if inputs else method
        check = metrics.sanity_check(bound, cell.network.f, select=select, depth=1)
        return check(clip, target, key=key).spearman_abs[0]

    values = _in_chunks(jax.vmap(one), line, cell, clips, 0, chunk)
    return [_number(value) for value in values]


@functools.cache
def _of_layer(layer):
    """Whether a parameter is of a layer; one function for each, as compiling asks."""
    return lambda name: name.split(".")[0] == layer


def _mean(repeats):
    return {
        key: [_number(v) for v in np.mean([r[key] for r in repeats], 0)]
        for key in repeats[0]
    }


def _spread(repeats):
    """Standard deviation over keys of the mean over clips."""
    if len(repeats) < 2:
        return None
    return {
        key: _number(np.std([r[key].mean() for r in repeats], ddof=1))
        for key in repeats[0]
    }


def _number(value):
    """A float as JSON has it: six digits, and None where there is none."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
