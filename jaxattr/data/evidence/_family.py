"""What a family of clips is."""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from jaxattr.data.evidence._scene import Layer, View

Draw = Callable[
    [jax.Array, jax.Array, jax.Array, View], tuple[jax.Array, tuple[Layer, ...]]
]


@dataclass(frozen=True)
class Family:
    """Clips in which the same kind of thing decides the class.

    Attributes:
      name: of the family.
      decides: what does, in words.
      labels: its classes.
      parts: names of the things in the picture, from the lowest to the topmost; the
        first is always "background".
      evidence: those of the parts that decide the class.
      draw: (key of the numbers, key of the texture, class within the family or a
        negative number to draw it, view) -> that class and one layer per part.
      joint: whether the evidence decides only together, so that the class is gone as
        soon as any of it is.
      test_only: whether nothing may be tuned on it.
    """

    name: str
    decides: str
    labels: tuple[str, ...]
    parts: tuple[str, ...]
    evidence: tuple[str, ...]
    draw: Draw
    joint: bool = False
    test_only: bool = False

    @property
    def is_evidence(self) -> tuple[bool, ...]:
        """For each part, whether it belongs to the evidence."""
        return tuple(part in self.evidence for part in self.parts)
