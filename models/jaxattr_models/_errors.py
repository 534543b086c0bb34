"""The one error that every problem with weights ends in."""

from collections.abc import Sequence

_SHOWN = 12  # Names of one kind in a message; the attributes hold them all.


class CheckpointError(ValueError):
    """A checkpoint that is broken, refused, unknown or of another network.

    Attributes:
      missing: parameters of the network that the checkpoint lacks.
      surplus: entries of the checkpoint that the network has no place for.
      misshaped: parameters whose shape or kind differs, with both.
      nonfinite: parameters that hold NaN or infinity.
    """

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[str] = (),
        surplus: Sequence[str] = (),
        misshaped: Sequence[str] = (),
        nonfinite: Sequence[str] = (),
    ):
        self.missing = tuple(missing)
        self.surplus = tuple(surplus)
        self.misshaped = tuple(misshaped)
        self.nonfinite = tuple(nonfinite)
        lists = (
            _listed(kind, getattr(self, kind))
            for kind in ("missing", "surplus", "misshaped", "nonfinite")
        )
        super().__init__("\n".join([message, *filter(None, lists)]))


def _listed(kind: str, names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"  {kind} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"
