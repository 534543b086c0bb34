"""The shipped weights of the networks for all families do what is claimed for them."""

import functools
import hashlib
import json
import pathlib

import jax
import numpy as np
import pytest

import jaxattr_models as models
from jaxattr.data import evidence
from jaxattr_models._evidence import LABELS
from jaxattr_models.weights import locate

RESULTS = pathlib.Path(__file__).parents[2] / "benchmarks" / "results"
RECORD = json.loads((RESULTS / "evidence-networks.json").read_text())["networks"]
SHIPPED = [
    (name, weights)
    for name in RECORD
    for weights in sorted(models.models()[name].weights)
]


@functools.cache
def clips(family):
    """32 clips of the "test" split of a family."""
    return evidence.batch(evidence.split_key("test"), 32, family)


@functools.cache
def answer(name):
    """The network's answers, compiled once for all of its weights."""
    return jax.jit(lambda net, clips: net(clips).argmax(-1))


@pytest.mark.parametrize(
    ("name", "weights", "family"),
    [
        pytest.param(
            *(name, weights, family),
            # Rendering a family takes seconds to compile: one is claimed for all.
            marks=() if weights.endswith("-0") and family == "or" else pytest.mark.slow,
        )
        for name, weights in SHIPPED
        for family in RECORD[name]["claimed"]
    ],
)
def test_answers_the_families_that_it_is_claimed_for(name, weights, family):
    answers = np.asarray(answer(name)(models.build(name, weights), clips(family).clip))
    # Three standard deviations of 32 clips below the 95 % of the claim.
    assert (answers == np.asarray(clips(family).target)).mean() >= 0.83


def test_some_families_are_claimed_for_every_network():
    assert len(RECORD) == 4
    for name, entry in RECORD.items():
        assert {"motion", "or", "context"} <= set(entry["claimed"])
        assert set(entry["weights"]) == set(models.models()[name].weights)


@pytest.mark.parametrize(("name", "weights"), SHIPPED)
def test_the_record_is_of_these_files(name, weights):
    file = locate(name, weights).read_bytes()
    recorded = RECORD[name]["weights"][weights]
    assert hashlib.sha256(file).hexdigest() == recorded["sha256"]
    assert len(file) == recorded["bytes"] < 512_000
    scores = [score["right"] for score in recorded["as rendered"].values()]
    top1 = models.models()[name].weights[weights].top1
    assert top1 == pytest.approx(np.mean(scores), abs=5e-3)


def test_most_clips_of_every_family_are_certified():
    for entry in RECORD.values():
        assert len(entry["weights"]) >= 2  # Trainings.
        for row in entry["weights"].values():
            assert set(row["certified"]) == set(evidence.FAMILIES)
            assert min(score["certified"] for score in row["certified"].values()) >= 0.6


def test_labels_are_those_of_the_clips():
    assert LABELS == evidence.LABELS
    for name, weights in SHIPPED:
        assert models.build(name, weights).spec.labels == evidence.LABELS


def test_an_unknown_name_lists_the_known():
    with pytest.raises(models.CheckpointError, match="families-0"):
        models.evidence_lstm(weights="familie-0")
