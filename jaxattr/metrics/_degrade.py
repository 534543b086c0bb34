"""Clips without, or with nothing but, the voxels that heat maps point at."""

import functools
import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr.metrics._units import Unit, Units, ranking

_CHUNK = 16  # Clips at a time: what memory there is on the device.
_ROUND = 1e-9  # 0.29 * 100 is less than 29 by rounding alone.


def degrade(
    clips: np.ndarray,
    heatmaps: np.ndarray,
    ratio: float,
    *,
    keep: bool = False,
    substitute: Any = 0.0,
    unit: Unit = "voxel",
    block: tuple[int, ...] | int | None = None,
) -> np.ndarray:
    """Takes the hottest share of every clip away, or everything else.

    Of n units, the floor(ratio * n) hottest are removed; with `keep`, the
    floor((1 - ratio) * n) coldest. Units of equal heat are taken in the order of frame,
    row and column, so a map with large flat parts removes the first frames of these.

    Args:
      clips: [N, T, H, W, C], of any dtype: bytes before they are normalised, as in the
        references, or clips as a network takes them.
      heatmaps: [N, T, H, W], finite.
      ratio: 0 to 1.
      keep: keep the hottest instead of removing them.
      substitute: what stands where voxels are gone, a number or [C], in the units of
        the clips: 0 is black before normalisation, and the mean colour after it.
      unit: "voxel"; "block", their mean heat counts; whole "frame".
      block: of the unit "block", (t, h, w) or (h, w) voxels; None takes H/16 x W/16.

    Returns:
      Like `clips`, on the host.

    Raises:
      ValueError: shapes that do not fit, a ratio outside 0..1, heat that is not finite,
        unit="supervoxel", blocks that do not divide the clip, a substitute that clips
        of integers cannot hold.

    References:
      Hooker et al., "A Benchmark for Interpretability Methods in Deep Neural Networks",
      NeurIPS 2019, https://arxiv.org/abs/1806.10758, section 3; Li et al.,
      "Spatio-temporal Perturbations for Video Attribution", TCSVT 2021,
      https://arxiv.org/abs/2109.00222. Deviation: the mean colour is of the caller's
      making, per channel; section 3 of the former takes each image's own.
    """
    clips, heatmaps = np.asarray(clips), np.asarray(heatmaps)
    if clips.ndim != 5 or heatmaps.shape != clips.shape[:4]:
        raise ValueError(
            "`clips` must be [N, T, H, W, C] and `heatmaps` [N, T, H, W] of them, got "
            f"{clips.shape} and {heatmaps.shape}."
        )
    if not np.isfinite(heatmaps).all():
        raise ValueError("`heatmaps` must be finite, got NaN or infinity.")
    check_ratio(ratio)
    if unit == "supervoxel":
        raise ValueError("`unit` must be 'voxel', 'block' or 'frame' here.")
    units = Units(unit, block)
    count = int(units.layout(clips.shape[1:4]).count)
    share = 1 - ratio if keep else ratio
    gone = math.floor(share * count + _ROUND)
    filling = _filling(substitute, clips.dtype)
    if filling.shape not in ((), clips.shape[-1:]):
        raise ValueError(
            f"`substitute` must be a number or [{clips.shape[-1]}], got shape "
            f"{filling.shape}."
        )
    out = np.empty_like(clips)
    for start in range(0, len(clips), _CHUNK):
        part = slice(start, start + _CHUNK)
        removed = np.asarray(_removed(units, keep, heatmaps[part], gone))
        out[part] = np.where(removed[..., None], filling, clips[part])
    return out


def _filling(substitute, dtype):
    """The substitute in the units of the clips; bytes have no room for most numbers."""
    given = np.asarray(substitute)
    if np.issubdtype(dtype, np.integer):
        bounds = np.iinfo(dtype)
        whole = (given == np.round(given)).all()
        if not (whole and bounds.min <= given.min() and given.max() <= bounds.max):
            raise ValueError(
                f"`substitute` must be whole numbers in {dtype.name}'s {bounds.min} to "
                f"{bounds.max}, as the clips are, got {substitute!r}."
            )
    return given.astype(dtype)


def check_ratio(ratio: float) -> None:
    """Raises ValueError unless `ratio` is a number from 0 to 1."""
    if not isinstance(ratio, numbers.Real) or not 0 <= ratio <= 1:
        raise ValueError(f"`ratio` must be a number from 0 to 1, got {ratio!r}.")


@functools.partial(jax.jit, static_argnums=(0, 1))
def _removed(units, keep, heatmaps, gone):
    """[N, T, H, W] bool."""

    def one(heatmap):
        order = "least_first" if keep else "most_first"
        ranks = ranking(units.layout(heatmap.shape), heatmap, order)
        return ranks.position < jnp.asarray(gone, jnp.int32)

    return jax.vmap(one)(heatmaps)
