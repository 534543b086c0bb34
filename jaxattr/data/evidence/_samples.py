"""Evidence clips as a data set of so many."""

from collections.abc import Iterable
from typing import Literal

import jax
import numpy as np

from jaxattr.data._sample import Sample
from jaxattr.data.evidence._families import find
from jaxattr.data.evidence._render import render, split_key


class EvidenceSamples:
    """Clips rendered one at a time, when they are asked for; see `Samples`.

    Attributes:
      names: of the clips.
      family: that they are of.
    """

    def __init__(self, family: str, split: str, indices: tuple[int, ...], seed: int):
        self.family = family
        self.names = tuple(f"{family}-{split}-{seed}-{i:06d}" for i in indices)
        self._split, self._indices, self._seed = split, indices, seed

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        """Renders a clip.

        Raises:
          IndexError: there is none.
        """
        key = split_key(self._split, seed=self._seed)
        key = jax.random.fold_in(key, self._indices[index])
        shown = jax.device_get(render(key, self.family))
        return Sample(
            self.names[index],
            np.asarray(shown.clip),
            int(shown.target),
            mask=np.asarray(shown.mask),
            group=self.family,
        )


def samples(
    family: str = "motion",
    *,
    split: Literal["train", "dev", "test"] = "test",
    num: int = 100,
    indices: Iterable[int] | None = None,
    seed: int = 0,
) -> EvidenceSamples:
    """Takes samples of a split of a family as a data set with random access.

    JAX renders them, on its default device; worker processes of a data loader should be
    told to use the CPU (JAX_PLATFORMS=cpu).

    Args:
      family: name of the family, one of `FAMILIES`.
      split: "dev" to tune anything, "test" to report once.
      num: how many, from the first of the split.
      indices: which of the split's samples, instead, such as
        `certified_samples(...).indices`.
      seed: of another endless data set of the same kind.

    Returns:
      Samples with exact masks, in the units of the evidence networks; `group` is the
      family. A sample is named by family, split, seed and index, so that no two differ
      under one name.

    Raises:
      ValueError: there is no such family or split, nothing may be tuned on the family,
        or no or a negative index.
    """
    check_split(family, split)
    chosen = tuple(int(i) for i in (range(num) if indices is None else indices))
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise ValueError(
            "`num` must be at least 1, and `indices` different and not negative, got "
            f"{num} and {indices!r:.80}."
        )
    return EvidenceSamples(family, split, chosen, seed)


def check_split(family: str, split: str) -> None:
    """Raises ValueError unless a family has such a split."""
    test_only = find(family).test_only
    split_key(split)
    if split == "dev" and test_only:
        raise ValueError(
            f"`family` {family!r} is only ever tested on: `split` must not be 'dev'."
        )
