"""Class names, and the class that a run explains."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxattr._checking import nearest
from jaxattr.cli._main import CommandError


def read_labels(path: str) -> tuple[str, ...]:
    """Class names from a text file, one per line, or a JSON list.

    Raises:
      CommandError: the file cannot be read, or holds no names.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
        if path.lower().endswith(".json"):
            names = json.loads(text)
            if not isinstance(names, list):
                raise ValueError("not a list")
            names = [str(name) for name in names]
        else:
            names = [line.strip() for line in text.rstrip().splitlines()]
    except (OSError, ValueError) as error:
        raise CommandError(f"`--labels {path}` cannot be read: {error}.") from error
    if not names:
        raise CommandError(f"`--labels {path}` holds no names.")
    return tuple(names)


def choose(target: str, probabilities: np.ndarray, labels: Sequence[str]) -> int:
    """The class index that `--target` means for one clip.

    Args:
      target: "auto" for the prediction, an index, or a label.
      probabilities: [K] of the network.
      labels: K names, or none.

    Raises:
      CommandError: an index out of range, an unknown label.
    """
    if target == "auto":
        return int(probabilities.argmax())
    count = probabilities.size
    if target.removeprefix("-").isdecimal():
        index = int(target)
        if not 0 <= index < count:
            raise CommandError(f"`--target` must be in 0..{count - 1}, got {index}.")
        return index
    folded = [label.casefold() for label in labels]
    if target.casefold() in folded:
        return folded.index(target.casefold())
    if not labels:
        raise CommandError(
            f"`--target {target}`: the class names are not known; pass --labels FILE "
            "or an index."
        )
    raise CommandError(f"`--target {target}`: no such class{nearest(target, labels)}")


def top(
    probabilities: np.ndarray, labels: Sequence[str], num: int = 5
) -> list[tuple[str, float]]:
    """The most likely classes as (label, probability)."""
    order = np.argsort(-probabilities, kind="stable")[:num]
    return [(name_of(int(i), labels), float(probabilities[i])) for i in order]


def name_of(index: int, labels: Sequence[str]) -> str:
    """A class's label, or its number where there is none."""
    return labels[index] if index < len(labels) else f"class {index}"
