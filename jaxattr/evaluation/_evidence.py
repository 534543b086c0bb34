"""Clips of a family of evidence, certified for the network that is explained."""

import jax

from jaxattr.data import Sample, Samples, evidence

_BLOCK, _LOOK = 32, 8  # Judged at once; looked at for every clip wanted, at most.


def check_evidence(
    num: int | None,
    *,
    family: str,
    split: str = "test",
    certified: bool = True,
    seed: int = 0,
) -> None:
    """Raises ValueError for what `evidence_samples` could not make."""
    evidence.labels(family)
    evidence.split_key(split, seed=seed)
    if num is None:
        raise ValueError("`clips` is missing: a family has no end.")
    if split == "dev" and evidence.FAMILIES[family].test_only:
        raise ValueError(f"`family` {family!r} is only ever tested on: not on 'dev'.")


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
      ValueError: the network has no logit for the family's classes.
    """
    key = evidence.split_key(split, seed=seed)
    indices = range(num)
    if certified:
        indices = _certified(f, family, key, num)
    return _EvidenceSamples(family, split, indices, seed)


def _certified(f, family, key, num):
    judge = evidence.certify(f, family, num_windows=1)
    block, found, looked = min(num, _BLOCK), [], 0
    while len(found) < num and looked < _LOOK * num:
        part = evidence.certified_samples(judge, key, block, start=looked)
        found += part.indices.tolist()
        looked += block
    return found[:num]


class _EvidenceSamples:
    """Renders a sample when it is asked for."""

    def __init__(self, family, split, indices, seed):
        self._family, self._split, self._seed = family, split, seed
        self._indices = indices
        self.names = [f"{family}-{split}-{seed}-{index:06}" for index in indices]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index) -> Sample:
        key = evidence.split_key(self._split, seed=self._seed)
        key = jax.random.fold_in(key, self._indices[index])
        made = evidence.render(key, self._family)
        clip, target, mask = jax.device_get((made.clip, made.target, made.mask))
        return Sample(
            self.names[index], clip, int(target), mask=mask, group=self._family
        )
