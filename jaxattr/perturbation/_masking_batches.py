"""Batches for the training of a masking model: checked, and without end."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_clips(name: str, clips: Any) -> None:
    """Raises unless these are floating-point clips [B, T, H, W, C]."""
    shape = getattr(clips, "shape", None)
    if shape is None or len(shape) != 5 or not shape[0]:
        raise ValueError(
            f"`{name}` must hold clips [B, T, H, W, C], got "
            f"{type(clips).__name__ if shape is None else tuple(shape)}."
        )
    if not jnp.issubdtype(clips.dtype, jnp.floating):
        raise TypeError(f"`{name}` must hold floating-point clips, got {clips.dtype}.")


def endless(
    batches: Iterable[tuple[Any, Any]],
) -> Iterator[tuple[jax.Array, np.ndarray]]:
    """Yields batches one at a time; begins again when they end.

    Raises:
      ValueError: there is none, as in an iterator begun again; shapes that change or do
        not fit.
      TypeError: clips that are not floating point, targets that are not integers.
    """
    shape = None
    while True:
        some = False
        for batch in batches:
            some = True
            if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
                raise ValueError(
                    "`batches` must yield pairs (clips [B, T, H, W, C], targets [B]), "
                    f"got {type(batch).__name__}."
                )
            clips, targets = batch
            check_clips("batches", clips)
            targets = np.asarray(targets)
            shape = clips.shape if shape is None else shape
            if clips.shape != shape or targets.shape != shape[:1]:
                raise ValueError(
                    "`batches` must hold clips [B, T, H, W, C] of one shape and "
                    f"targets [B], got {tuple(clips.shape)} and {targets.shape} where "
                    f"the first clips are {tuple(shape)}."
                )
            if not np.issubdtype(targets.dtype, np.integer):
                raise TypeError(
                    f"`batches` must hold integer targets, got {targets.dtype}."
                )
            yield clips, targets.astype(np.int32)
        if not some:
            raise ValueError(
                "`batches` ended: give a list, or an iterator with one for every step "
                "of both parts of the training."
            )


def check_targets(targets: np.ndarray, num_classes: int) -> None:
    """Raises ValueError for a class that the network does not have."""
    wrong = targets[(targets < 0) | (targets >= num_classes)]
    if wrong.size:
        raise ValueError(
            f"`batches` must hold targets in 0..{num_classes - 1}, got {wrong[0]}."
        )
