"""The cells of the benchmark: a family, a network, and clips certified for both.

Names and splits are checked here; nothing in this file knows a method.
"""

import difflib
import functools
import hashlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxattr_models as models
from jaxattr.data import evidence
from jaxattr.evaluation._evidence import find_certified
from jaxattr.evaluation._networks import check_weights
from jaxattr_models.weights import locate

# Kinds of network that are right on 95 % of the clips of these families alone, of other
# families on fewer; see docs/evidence-networks.md. All others are of all families.
CLAIMED = {
    "evidence": ("motion",),
    "evidence_lstm": ("motion", "order", "or", "context"),
    "evidence_transformer": ("motion", "and", "or", "context", "trigger"),
}


class Trained(NamedTuple):
    """A network of the benchmark.

    Attributes:
      label: "name/weights".
      f: the network.
      head: name of its last layer.
      sha256: of the weights' file; None where they are random.
    """

    label: str
    f: object
    head: str
    sha256: str | None


class Cell(NamedTuple):
    """A family, a network, and the clips on which the evidence decides its answer.

    Attributes:
      family: name.
      network: `Trained`.
      indices: [n] samples of the split, all certified.
      looked: samples that were looked at.
      rejected: share of these that are not certified.
      clips: `EvidenceClip` of the indices, with a leading axis [n].
    """

    family: str
    network: Trained
    indices: np.ndarray
    looked: int
    rejected: float
    clips: evidence.EvidenceClip


def choose_families(names: Sequence[str] | None, split: str) -> list[str]:
    """The families of those names, or all that a split has.

    Raises:
      ValueError: no such family, the nearest ones named; on "dev", one that is only
        ever tested on.
    """
    for name in names or ():
        evidence.labels(name)  # Raises for what does not exist.
    tested = {name for name, one in evidence.FAMILIES.items() if one.test_only}
    return _allowed("families", names, evidence.FAMILIES, tested, split)


def claimed(network: str, family: str) -> bool:
    """Whether a network, by its label, knows a family well enough to be asked."""
    return family in CLAIMED.get(network.partition("/")[0], (family,))


def choose_networks(names: Sequence[str] | None, split: str) -> list[tuple[str, str]]:
    """(network, weights) of names such as "evidence_3d" or "evidence_3d/FILE".

    Without weights all that are published count, with "none" random ones. No names are
    all networks that know every family.

    Raises:
      ValueError: no such network, the nearest ones named, or one without published
        weights; on "dev", one that is only ever tested on.
    """
    known = models.models()
    families = [
        name
        for name, model in known.items()
        if model.num_classes == len(evidence.LABELS) and model.weights
    ]
    for name in names or ():
        check_known("networks", name.partition("/")[0], known)
    tested = {name for name, model in known.items() if model.test_only}
    chosen = _allowed("networks", names, families, tested, split)
    pairs = []
    for name, _, weights in (text.partition("/") for text in chosen):
        every = [weights] if weights else list(known[name].weights)
        if not every:
            raise ValueError(
                f"`networks` {name!r} has no published weights: name a file, "
                f"{name}/FILE, or {name}/none for random ones."
            )
        for one in every:
            check_weights(name, one, pathlib.Path())
        pairs += [(name, one) for one in every]
    if not pairs:
        raise ValueError(
            "`networks` is missing: no network that knows all families has published "
            f"weights. There are {', '.join(known)}."
        )
    return list(dict.fromkeys(pairs))


def check_known(argument: str, name: str, known: Iterable[str]) -> None:
    """Raises ValueError, with the nearest names, unless the name is known."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"`{argument}` must be of {', '.join(known)}; got {name!r}.{hint}"
        )


def load(name: str, weights: str) -> Trained:
    """Builds a network with its weights."""
    given = None if weights == "none" else weights
    digest = None
    if given is not None:
        digest = hashlib.sha256(locate(name, given).read_bytes()).hexdigest()
    head = models.models()[name].head.partition("/")[0]
    return Trained(f"{name}/{weights}", models.build(name, given), head, digest)


def make_cell(network: Trained, family: str, split: str, num: int) -> Cell | None:
    """The first `num` certified samples of a split, or as many as `8 * num` hold.

    None if the network has no logit for the family's classes.
    """
    key = evidence.split_key(split)
    probe = jax.ShapeDtypeStruct(
        (evidence.NUM_FRAMES, evidence.HEIGHT, evidence.WIDTH, 3), jnp.float32
    )
    if jax.eval_shape(network.f, probe).shape[-1] <= evidence.labels(family)[-1]:
        return None
    found = find_certified(network.f, family, key, num)
    indices = np.array(found.indices, np.int32)
    clips = render(key, indices, family) if len(indices) else None
    return Cell(family, network, indices, found.looked, found.rejected, clips)


@functools.partial(jax.jit, static_argnames="family")
def render(key, indices, family: str) -> evidence.EvidenceClip:
    """The samples of those indices, [n] on every field."""

    def sample(index):
        return evidence.render(jax.random.fold_in(key, index), family)

    return jax.lax.map(sample, jnp.asarray(indices))


def _allowed(argument, names, default, test_only, split):
    """What is named, or the default without what the split must not see."""
    tuning = split == "dev"
    if names is None:
        return [name for name in default if not (tuning and name in test_only)]
    for name in names:
        if tuning and name.partition("/")[0] in test_only:
            raise ValueError(
                f"`{argument}` {name!r} is only ever tested on: not with split 'dev'."
            )
    return list(dict.fromkeys(names))
