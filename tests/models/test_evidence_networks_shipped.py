"""The shipped weights of the networks for all families do what is claimed for them."""

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


@pytest.fixture(scope="module")
def clips():
    """32 clips of the "test" split of each family."""
    key = evidence.split_key("test")
    return {family: evidence.batch(key, 32, family) for family in evidence.FAMILIES}


@pytest.mark.parametrize(("name", "weights"), SHIPPED)
def test_answers_the_families_that_it_is_claimed_for(name, weights, clips):
    net = models.build(name, weights)
    answer = jax.jit(lambda net, clips: net(clips).argmax(-1))
    for family in RECORD[name]["claimed"]:
        answers = np.asarray(answer(net, clips[family].clip))
        # Three standard deviations of 32 clips below the 95 % of the claim.
        assert (answers == np.asarray(clips[family].target)).mean() >= 0.83, family


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
