"""Do the diagnosis, and the split of a map, tell order from appearance?

On certified clips of which it is known what decides: the scores of the clip
reordered, still and cut, and, for integrated gradients of logits, how well the signed
map and its static and dynamic part rank the evidence (AUROC, chance 0.5) and what they
sum to. On clips of "order" the dynamic part should carry the evidence, on clips of
"appearance" the static one.
"""

import argparse
import functools

import _timing
import jax
import numpy as np
from _evidence_cells import choose_families, choose_networks, load, make_cell
from sklearn.metrics import roc_auc_score

import jaxattr
from jaxattr import metrics

PARTS = ("values", "static", "dynamic")
SCORES = ("original", "shuffled", "reversed", "foreground_only", "background_only")


def _measure(cell, num_steps):
    """What of every clip: name -> [n]."""
    net = cell.network.f
    method = functools.partial(jaxattr.integrated_gradients, num_steps=num_steps)
    divide = metrics.static_dynamic_split(method, net)
    diagnose = metrics.temporal_diagnosis(net)
    rows = []
    for i, index in enumerate(cell.indices):
        sample = jax.tree.map(lambda values: values[i], cell.clips)  # noqa: B023
        clip, target = sample.clip, int(sample.target)
        found = diagnose(clip, target, sample.mask, key=jax.random.key(int(index)))
        row = {name: float(getattr(found, name)) for name in SCORES}
        row |= {"best still": float(found.frozen.max())}
        parts = divide(clip, target)
        for name in PARTS:
            signed = np.asarray(getattr(parts, name)).sum(-1)
            mask = np.asarray(sample.mask)
            row[f"auroc {name}"] = float(roc_auc_score(mask.ravel(), signed.ravel()))
            row[f"sum {name}"] = float(signed.sum())
        row["dynamic leads"] = float(row["auroc dynamic"] > row["auroc static"])
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _with_intervals(values):
    """Means with 95 % bootstrap intervals, and the paired difference of the parts."""
    dynamic, static = values["auroc dynamic"], values["auroc static"]
    found = {name: metrics.paired_bootstrap(one) for name, one in values.items()}
    found["auroc dynamic - static"] = metrics.paired_bootstrap(dynamic, static)
    return {name: interval._asdict() for name, interval in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--networks", nargs="+", default=["evidence_lstm", "evidence_factored"]
    )
    parser.add_argument(
        "--families", nargs="+", default=["order", "appearance", "motion"]
    )
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--clips", type=int, default=32, help="certified, of each")
    parser.add_argument("--num-steps", type=int, default=16)
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    try:
        families = choose_families(args.families, args.split)
        networks = choose_networks(args.networks, args.split)
    except ValueError as error:
        parser.error(str(error))
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    record = {"machine": _timing.machine(), "settings": settings, "rows": []}
    for network in (load(*pair) for pair in networks):
        for family in families:
            cell = make_cell(network, family, args.split, args.clips)
            if cell is None or not len(cell.indices):
                print(f"{network.label} knows nothing of {family}", flush=True)
                continue
            found = _with_intervals(_measure(cell, args.num_steps))
            known = {"network": network.label, "family": family}
            known |= {"clips": len(cell.indices), "rejected": cell.rejected}
            record["rows"].append({**known, **found})
            listed = ", ".join(
                f"{name} {one['mean']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
                for name, one in found.items()
            )
            print(f"{network.label}, {family}: {listed}", flush=True)
            _timing.write(args.out, record)


if __name__ == "__main__":
    main()
