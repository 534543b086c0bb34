"""What has no score, gathered by its reason."""

import collections
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxattr.evaluation._scores import Missing


class Reason(NamedTuple):
    """Why some records have no score.

    Attributes:
      status: of the records.
      message: what was said.
      pairs: (method, metric) -> records.
      explanations: (network, data, clip), how many.
    """

    status: str
    message: str
    pairs: Mapping[tuple[str, str], int]
    explanations: int

    @property
    def methods(self) -> list[str]:
        """Labels."""
        return sorted({method for method, _ in self.pairs})

    @property
    def metrics(self) -> list[str]:
        """Labels."""
        return sorted({metric for _, metric in self.pairs})


def reasons(missing: Iterable[Missing]) -> list[Reason]:
    """One reason for each status and message, the most frequent first."""
    pairs = collections.defaultdict(collections.Counter)
    places = collections.defaultdict(set)
    for one in missing:
        why = one.status, one.message
        pairs[why][one.method, one.metric] += 1
        places[why].add((one.network, one.data, one.clip))
    found = [Reason(*why, dict(p), len(places[why])) for why, p in pairs.items()]
    return sorted(found, key=lambda reason: -sum(reason.pairs.values()))
