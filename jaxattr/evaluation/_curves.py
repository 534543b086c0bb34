"""Scores along the paths of metrics: collected from records, and their means."""

import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxattr.evaluation._estimates import Estimates, estimates, known_mean

_DRAWS = 2_000  # A band in a picture asks for fewer than a number in a table.


class Curve(NamedTuple):
    """Mean scores of M methods along the path of a metric.

    Attributes:
      shown: [S] share of the units that are seen, mean over explanations.
      scores: [M, S], NaN for a method without records of its path; intervals of each
        place by itself.
    """

    shown: np.ndarray
    scores: Estimates


class Paths:
    """The paths of one metric, of record after record."""

    def __init__(self) -> None:
        self._places = array.array("q")
        self._values, self._shown = array.array("d"), array.array("d")

    def add(self, place: Sequence[int], record: Mapping[str, Any]) -> None:
        """Takes one.

        Args:
          place: (clip, network, method).
          record: with `curve` and `shown`.

        Raises:
          ValueError: these two, or `curve` and those before, differ in length.
        """
        curve, shown = record["curve"], record.get("shown") or ()
        metric, count = record["metric"], len(self._places) // 3
        if len(curve) != len(shown):
            raise ValueError(
                f"a record of {metric!r} has `curve` of {len(curve)} and `shown` of "
                f"{len(shown)} numbers."
            )
        if count and len(curve) != (steps := len(self._values) // count):
            raise ValueError(
                f"metric {metric!r} has paths of {steps} and of {len(curve)} scores: "
                "give labels to what differs."
            )
        self._places.extend(place)
        self._values.extend(curve)
        self._shown.extend(shown)

    def mean(
        self,
        shape: tuple[int, int, int],
        order: Iterable[int],
        groups: np.ndarray,
        num: int,
        seed: int,
    ) -> Curve:
        """Their macro means, as of the scores: over networks, clips, groups.

        Args:
          shape: clips, networks and methods.
          order: places of the methods.
          groups: [N] of the clips.
          num: draws of the bootstrap, of which at most 2,000 are taken.
          seed: of the draws.
        """
        places = np.array(self._places).reshape(-1, 3)
        values = np.array(self._values).reshape(len(places), -1)
        by_clip = []
        for method in order:
            mine = places[:, 2] == method
            cells = np.full((*shape[:2], values.shape[1]), np.nan)
            cells[tuple(places[mine, :2].T)] = values[mine]
            by_clip.append(known_mean(cells, 1))
        stacked = np.stack(by_clip, -1)  # [N, S, M]
        found = estimates(stacked, groups, min(num, _DRAWS), seed)
        shown = np.array(self._shown).reshape(values.shape).mean(0)
        return Curve(shown, Estimates(*(part.T for part in found)))
