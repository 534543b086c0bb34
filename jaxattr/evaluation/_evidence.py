"""Clips of a family of evidence, certified for the network that is explained."""

from typing import Any, NamedTuple

from jaxattr.data import Samples, evidence
from jaxattr.data.evidence._samples import check_split

_BLOCK, _LOOK = 32, 8  # Judged at once; looked at for every clip wanted, at most.


def check_seed(seed: Any) -> None:
    """Raises ValueError unless JAX takes `seed` as it is, on any machine."""
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    if not (whole and 0 <= seed < 2**32):
        raise ValueError(f"`seed` must be an integer from 0 to 2**32 - 1, got {seed}.")


class Found(NamedTuple):
    """Certified samples.

    Attributes:
      indices: in their split.
      looked: samples that were judged to find them.
      rejected: share of these that are not certified.
    """

    indices: list[int]
    looked: int
    rejected: float


def check_evidence(
    num: int | None,
    *,
    family: str,
    split: str = "test",
    certified: bool = True,
    seed: int = 0,
) -> None:
    """Raises ValueError for what `evidence_samples` could not make."""
    check_split(family, split)
    if not isinstance(certified, bool):
        raise ValueError(f"`certified` must be true or false, got {certified!r}.")
    check_seed(seed)
    if num is None:
        raise ValueError("`clips` is missing: a family has no end.")


def evidence_samples(
    f,
    num: int,
    *,
    family: str,
    split: str = "test",
    certified: bool = True,
    seed: int = 0,
) -> Samples:
    """The first samples of a split that are certified for a network.

    Args:
      f: the network.
      num: how many; fewer if `8 * num` samples do not hold so many.
      family: of `evidence.FAMILIES`, which is their group.
      split: "train", "dev" or "test".
      certified: whether only those count that the network answers right, from the
        evidence alone too, and no longer without it; see `evidence.certify`.
      seed: of the split.

    Raises:
      ValueError: the network has no logit for the family's classes, or none of the
        samples looked at is certified.
    """
    if not certified:
        return evidence.samples(family, split=split, num=num, seed=seed)
    key = evidence.split_key(split, seed=seed)
    found = find_certified(f, family, key, num).indices
    if not found:
        raise ValueError(f"no clip of {family!r} is certified for this network.")
    return evidence.samples(family, split=split, indices=found, seed=seed)


def find_certified(f, family: str, key, num: int) -> Found:
    """The first `num` certified samples of a split, or as many as `8 * num` hold."""
    judge = evidence.certify(f, family, num_windows=1)
    block, found, looked = min(num, _BLOCK), [], 0
    while len(found) < num and looked < _LOOK * num:
        part = evidence.certified_samples(judge, key, block, start=looked)
        found += part.indices.tolist()
        looked += block
    return Found(found[:num], looked, 1 - len(found) / looked)
