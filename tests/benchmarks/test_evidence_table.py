"""Means over families, their intervals, and the settings' hash."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
from _evidence_record import digest, read_rows, write
from _evidence_table import macro, markdown, summarise

from jaxattr import metrics

SCORES = ("auprc", "hit", "peak", "iou", "energy", "temporal_iou", "insertion")


def row(values, few, **more):
    return {
        "hash": "h",
        "settings": {},
        "gradients": 1,
        "not_finite": 0,
        "scores": {name: list(values) for name in SCORES},
        "sanity": few,
        "stability": few,
        "oracle": {"told": "threshold", "iou": values, "temporal_iou": values},
        **more,
    }


def cell(family, network, samples, **rows):
    return {
        "family": family,
        "network": network,
        "samples": samples,
        "looked": 8,
        "rejected": 0.25,
        "evidence_share": 0.1,
        "rows": rows,
    }


def test_macro_counts_families_alike_and_one_is_the_usual_bootstrap():
    rng = np.random.default_rng(3)
    large, small = rng.normal(size=40), 5 + rng.normal(size=3)
    assert macro([large, small]).mean == pytest.approx(
        (large.mean() + small.mean()) / 2
    )
    assert macro([large]) == pytest.approx(metrics.paired_bootstrap(large))
    both = macro([np.full(4, 1.0), np.full(2, 3.0)])
    assert both == (2, 2, 2)
    # The variance of a mean of two means is the mean of theirs, halved.
    other = rng.normal(size=60)
    got = macro([large, other])
    sigma = np.sqrt(large.var() / 40 + other.var() / 60) / 2
    assert got.high - got.low == pytest.approx(2 * 1.96 * sigma, rel=0.05)


def test_a_clip_counts_once_however_many_networks_answer_it():
    """Clip 5 is certified for both networks and counts with its mean."""
    record = {
        "cells": [
            cell("motion", "a", [2, 5], m=row([0.0, 1.0], [0.5, None])),
            cell("motion", "b", [5, 9], m=row([0.0, 1.0], [0.1, 0.2])),
            cell("order", "a", [2], m=row([1.0], [None])),
            cell("or", "a", [], m=None) | {"rows": {}},
        ]
    }
    line = summarise(record)["m"]
    assert line["auprc"]["mean"] == pytest.approx((np.mean([0, 0.5, 1]) + 1) / 2)
    assert line["families"] == pytest.approx({"motion": 0.5, "order": 1.0})
    assert line["sanity"]["mean"] == pytest.approx(np.mean([0.5, 0.1, 0.2]))
    assert line["cells"] == 3
    assert line["difference"] == {}  # There is no reference to compare with.


def test_differences_are_paired_and_refusals_are_told():
    reference = row([0.5, 0.6], [1.0, 1.0])
    better = row([0.7, 0.8], [1.0, 1.0], not_finite=1)
    refused = {"hash": "h", "refused": "no convolution"}
    lines = {"integrated_gradients": reference, "better": better}
    record = {
        "split": "test",
        "date": "2000-01-01",
        "machine": {"device": "cpu", "processor": "x", "cores": 1, "jax": "0"},
        "hash": "0" * 64,
        "cells": [
            cell("motion", "a", [0, 1], cam=row([0.1, 0.1], [0.0, 0.0]), **lines),
            cell("order", "a", [0, 1], cam=refused, **lines),
        ],
    }
    record["table"] = summarise(record)
    gap = record["table"]["better"]["difference"]["auprc"]
    np.testing.assert_allclose([gap["mean"], gap["low"], gap["high"]], 0.2)
    text = markdown(record)
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| better"))
    assert "2 not finite" in lines[first]
    assert "0.75 [0.70, 0.80] ▲" in lines[first]
    assert lines[first + 1].startswith("| integrated_gradients | 0.55 [0.50, 0.60] |")
    assert lines[first + 2].startswith("| cam — 1 of 2 cells | 0.10")
    assert "`cam` has no scores in 1 cells: no convolution" in text
    assert "| better, oracle area | cut there | 0.75 [0.70, 0.80] |" in text
    assert "| a | order | 2 | 8 | 25.0% | 10.0% |" in text


def test_the_hash_knows_settings_and_not_their_order():
    settings = {"a": 1, "b": (0.1, 0.2)}
    assert digest(settings) == digest({"b": [0.1, 0.2], "a": 1})
    assert digest(settings) != digest({**settings, "a": 2})
    assert len(digest(settings)) == 64


def test_files_are_read_back_and_numbers_stay_in_one_line(tmp_path):
    path = tmp_path / "new" / "results.json"
    assert read_rows(path) == {}
    assert read_rows(None) == {}
    record = {"cells": [cell("motion", "a", [0, 1], m=row([0.5, 0.25], [None]))]}
    write(path, record)
    assert read_rows(path) == {"h": record["cells"][0]["rows"]["m"]}
    assert '"auprc": [ 0.5, 0.25 ]' in path.read_text()
    assert [one.name for one in path.parent.iterdir()] == ["results.json"]
