"""Can the networks that ship for the families of evidence clips answer them?

Every architecture and training on clips of one split: as rendered, with a panning
camera, and without their evidence, where the right answer is "none". A benchmark of
explanations stands on networks that know the answer; a family that a network knows to
less than 95 % in any of its trainings is not claimed for it. Beside them the share of
clips that are certified for it (right, right from the evidence alone, and no longer
right without it), and the median time of one input gradient.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import statistics

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxattr
import jaxattr_models as models
from jaxattr.data import evidence
from jaxattr_models.weights import locate

NETWORKS = (
    "evidence_factored",
    "evidence_3d",
    "evidence_lstm",
    "evidence_transformer",
)
CLAIM = 0.95
VARIANTS = {"as rendered": {}, "camera": {"camera": 1.0}, "none": {"none": 1.0}}
CHUNK = 64


@jax.jit
def _probabilities(net, clips):
    return jax.nn.softmax(jaxattr.fold_convs(net)(clips))


def _clips(split, family, num, settings):
    key = evidence.split_key(split)
    for start in range(0, num, CHUNK):
        samples = evidence.batch(key, CHUNK, family, start=start, **settings)
        keep = min(CHUNK, num - start)
        yield samples.clip[:keep], np.asarray(samples.target[:keep])


def _score(networks, split, family, num, settings):
    """Name -> (fraction right, mean probability of the right class)."""
    right = {name: [] for name in networks}
    sure = {name: [] for name in networks}
    for clips, targets in _clips(split, family, num, settings):
        for name, net in networks.items():
            probabilities = np.asarray(_probabilities(net, clips))
            right[name].extend(probabilities.argmax(-1) == targets)
            sure[name].extend(probabilities[np.arange(len(targets)), targets])
    return {
        name: {"right": float(np.mean(right[name])), "sure": float(np.mean(sure[name]))}
        for name in networks
    }


def _halved(net, clip):
    """What a network of 56 pixels says of a clip of 112: means of 2 x 2 pixels."""
    frames, height, width, channels = clip.shape
    cells = clip.reshape(frames, height // 2, 2, width // 2, 2, channels)
    return net(cells.mean((2, 4)))


def _certified(net, split, family, num, **settings):
    """Share of the first clips of a split that are certified, and of each condition."""
    judge = evidence.certify(net, family, num_windows=1, **settings)
    samples = evidence.certified_samples(judge, evidence.split_key(split), num)
    names = ("certified", "right", "keeps", "flips")
    found = samples.certificates
    return {name: float(np.mean(getattr(found, name))) for name in names}


def _certified_variants(networks, split, num):
    """Of the first training of every network: a panning camera, and clips of 112."""
    found = {}
    for (name, weights), net in networks.items():
        if weights != next(iter(models.models()[name].weights)):
            continue
        folded = jaxattr.fold_convs(net)
        halved = jax.tree_util.Partial(_halved, folded)
        found[name] = {
            family: {
                "camera": _certified(folded, split, family, num, camera=1.0),
                "112 pixels": _certified(halved, split, family, num, size=112),
            }
            for family in evidence.FAMILIES
        }
        print(f"{name}: {found[name]}", flush=True)
    return found


def _gradient_seconds(net):
    clip = jnp.zeros((16, 56, 56, 3), jnp.float32)
    gradient = jax.jit(jax.grad(lambda clip, net: jaxattr.fold_convs(net)(clip)[0]))
    rounds = _timing.interleaved({"": lambda: gradient(clip, net)}, 9)[""]
    return statistics.median(rounds)


def _show(record):
    families = list(evidence.FAMILIES)
    print("| network | weights | " + " | ".join(families) + " | camera | none |")
    print("|---" * (len(families) + 4) + "|")
    for name, network in record["networks"].items():
        for weights, row in network["weights"].items():
            cells = [row["as rendered"][family]["right"] for family in families]
            cells += [
                np.mean([score["right"] for score in row[variant].values()])
                for variant in ("camera", "none")
            ]
            listed = " | ".join(f"{cell:.3f}" for cell in cells)
            print(f"| {name} | {weights} | {listed} |")
            shares = [row["certified"][family]["certified"] for family in families]
            print(
                "| | certified | " + " | ".join(f"{s:.2f}" for s in shares) + " | | |"
            )
        print(f"  claimed: {', '.join(network['claimed'])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--num", type=int, default=512, help="clips of each family")
    parser.add_argument("--num-variants", type=int, default=128)
    parser.add_argument("--num-certified", type=int, default=48)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument(
        "--only-variants",
        action="store_true",
        help="add the certificates of variants to the record that --out holds",
    )
    args = parser.parse_args()

    networks = {
        (name, weights): models.build(name, weights)
        for name in NETWORKS
        for weights in models.models()[name].weights
    }
    if args.only_variants:
        record = json.loads(pathlib.Path(args.out).read_text())
        found = _certified_variants(networks, args.split, args.num_certified)
        record["num"]["certified variants"] = args.num_certified
        _timing.write(args.out, record | {"certified variants": found})
        return
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": _timing.machine(),
        "split": args.split,
        "num": {"as rendered": args.num, "camera": args.num_variants}
        | {"none": args.num_variants, "certified": args.num_certified}
        | {"certified variants": args.num_certified},
        "networks": {},
    }
    for name, weights in networks:
        file = locate(name, weights).read_bytes()
        entry = record["networks"].setdefault(name, {"weights": {}})
        entry["num_parameters"] = models.models()[name].num_parameters
        entry["weights"][weights] = {
            "sha256": hashlib.sha256(file).hexdigest(),
            "bytes": len(file),
        } | {variant: {} for variant in (*VARIANTS, "certified")}
    for family in evidence.FAMILIES:
        for variant, settings in VARIANTS.items():
            num = record["num"][variant]
            scores = _score(networks, args.split, family, num, settings)
            for (name, weights), score in scores.items():
                rows = record["networks"][name]["weights"]
                rows[weights][variant][family] = score
        for (name, weights), net in networks.items():
            row = record["networks"][name]["weights"][weights]["certified"]
            folded = jaxattr.fold_convs(net)
            row[family] = _certified(folded, args.split, family, args.num_certified)
        print(f"{family} done", flush=True)
    for name, entry in record["networks"].items():
        rows = entry["weights"].values()
        entry["claimed"] = [
            family
            for family in evidence.FAMILIES
            if all(row["as rendered"][family]["right"] >= CLAIM for row in rows)
        ]
        net = next(net for (owner, _), net in networks.items() if owner == name)
        entry["gradient_seconds"] = _gradient_seconds(net)
    variants = _certified_variants(networks, args.split, args.num_certified)
    record["certified variants"] = variants
    _show(record)
    _timing.write(args.out, record)


if __name__ == "__main__":
    main()
