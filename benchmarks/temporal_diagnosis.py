"""Do the diagnosis, and the split of a map, tell order from appearance?

On families of clips of which it is known what decides: the scores of the clip
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
from sklearn.metrics import roc_auc_score

import jaxattr
import jaxattr_models as models
from jaxattr import metrics
from jaxattr.data import evidence

PARTS = ("values", "static", "dynamic")
SCORES = ("original", "shuffled", "reversed", "foreground_only", "background_only")


def _measure(net, split, family, num, num_steps):
    """Mean over clips of everything, and the share in which the dynamic part leads."""
    method = functools.partial(jaxattr.integrated_gradients, num_steps=num_steps)
    divide = metrics.static_dynamic_split(method, net)
    diagnose = metrics.temporal_diagnosis(net)
    key, rows = evidence.split_key(split), []
    for i in range(num):
        sample = evidence.render(jax.random.fold_in(key, i), family)
        clip, target = sample.clip, int(sample.target)
        found = diagnose(clip, target, sample.mask, key=jax.random.key(i))
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
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="evidence_lstm,evidence_factored")
    parser.add_argument(
        "--weights", default="families-0", help="a name, a file or none"
    )
    parser.add_argument("--families", default="order,appearance,motion")
    parser.add_argument("--split", default="dev", choices=("dev", "test"))
    parser.add_argument("--num", type=int, default=32, help="clips of each family")
    parser.add_argument("--num-steps", type=int, default=16)
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    record = {"machine": _timing.machine(), "settings": settings, "rows": []}
    for name in args.networks.split(","):
        weights = None if args.weights == "none" else args.weights
        net = models.build(name, weights=weights)
        for family in args.families.split(","):
            row = _measure(net, args.split, family, args.num, args.num_steps)
            record["rows"].append({"network": name, "family": family, **row})
            listed = ", ".join(f"{key} {value:.3f}" for key, value in row.items())
            print(f"{name}, {family}: {listed}", flush=True)
    _timing.write(args.out, record)


if __name__ == "__main__":
    main()
