"""What the benchmark says beyond its table."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
from _evidence_report import OBJECTIVE, SUBSTITUTES, access, headline, matrix, rejection

from jaxattr import _registry, evaluation

METHODS = ("saliency", "rise", "step", "lrp", "blur_integrated_gradients")
LOWER = ("deletion",)


def records(agree, noise=0.01):
    """Methods in one order by localisation, in the same or the other by insertion."""
    rng, rows = np.random.default_rng(0), []
    metrics = (*SUBSTITUTES, "deletion", "peak", "auprc", "oracle IoU", "hit", "energy")
    for clip in range(8):
        for place, method in enumerate((*METHODS, "random")):
            for metric in metrics:
                objective = metric in OBJECTIVE or metric in SUBSTITUTES
                sign = -1 if objective and not agree else 1
                sign *= -1 if metric in LOWER else 1
                # The control would turn the order round, if it counted.
                value = 100.0 if method == "random" else sign * place
                rows.append(
                    {
                        "network": "n",
                        "data": "d",
                        "group": "g",
                        "clip": str(clip),
                        "method": method,
                        "metric": metric,
                        "value": value + noise * rng.normal(),
                        "direction": "lower" if metric in LOWER else "higher",
                        "gradients": float(place),
                        "seconds": 1.0,
                        "memory": 2_000_000,
                        "status": "ok",
                    }
                )
    return rows


@pytest.mark.parametrize(("agree", "said"), [(True, "fails"), (False, "holds")])
def test_rankings_that_disagree_are_told(agree, said):
    text = headline(records(agree))
    rows = [line for line in text.splitlines() if "| insertion |" in line]
    assert len(rows) == 3
    assert all(row.endswith(f"| {said} |") for row in rows)
    assert all(row.startswith("| 5 | 8 |") for row in rows)


def test_rankings_that_tell_nothing_are_undecided():
    text = headline(records(True, noise=100.0))
    assert "| 5 | 8 | insertion | peak |" in text
    assert text.count("undecided") >= 3


def test_the_cell_of_a_method_s_own_substitute_is_marked():
    (table,) = evaluation.tabulate(records(True))
    settings = [{"name": name} for name in METHODS]
    settings[2]["perturbation"] = "noise"
    text = matrix(table, settings)
    rows = {line.split(" | ")[0][2:]: line for line in text.splitlines()}
    marked = {
        name: [place for place, cell in enumerate(row.split(" | ")[1:]) if "**" in cell]
        for name, row in rows.items()
    }
    assert marked["step"] == [3]  # Behind noise, not as by default a blur.
    assert marked["rise"] == [0]
    assert marked["blur_integrated_gradients"] == [1]
    assert marked["saliency"] == marked["random"] == []


def test_ranks_are_of_clips_that_all_ranked_methods_have():
    """A method on few clips is ranked apart; one that refuses a network is not."""
    few = [r for r in records(True) if r["method"] != "rise" or r["clip"] in "01"]
    # Of the other clips they would say the opposite.
    turned = [
        {**r, "value": -r["value"]}
        if r["method"] != "rise" and r["metric"] == "insertion" and r["clip"] in "01"
        else r
        for r in few
    ]
    text = headline(turned)
    assert "| 4 | 8 | insertion | peak |" in text
    shared = [line for line in text.splitlines() if "| 5 | 2 | insertion |" in line]
    assert len(shared) == 3
    assert "| -" in shared[0]
    elsewhere = [{**r, "network": "other"} for r in few if r["method"] != "step"]
    text = headline([*few, *elsewhere])
    assert "| 3 | 16 | insertion | peak |" in text
    assert "| 4 | 4 | insertion | peak |" in text


def test_rejected_clips_are_counted():
    text = rejection({"a/b, motion": {"looked": 32, "rejected": 0.25}})
    assert "| a/b, motion | 32 | 25% |" in text


def test_every_method_says_what_it_sees():
    (table,) = evaluation.tabulate(records(True))
    text = access(table)
    assert "| rise | outputs | 1 | 2 |" in text
    assert "| lrp | the program | 3 | 2 |" in text
    names = (*_registry.METHODS, "random", "edges")
    every = table._replace(methods=names)
    count = len(names)
    wide = every._replace(
        scores=table.scores._replace(mean=np.ones((count, len(table.metrics)))),
        costs=evaluation.Costs(*(np.ones(count) for _ in range(3))),
    )
    assert access(wide).count("\n|") == count + 2
