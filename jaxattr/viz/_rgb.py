"""From a network's clip back to pictures: undo the normalisation."""

from typing import Any, Protocol

import numpy as np


class Look(Protocol):
    """What a picture needs to know of a network's spec; see `to_rgb`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    channel_order: str


def to_rgb(clip: Any, spec: Look | None = None) -> np.ndarray:
    """Turns a network's clip into frames that can be looked at.

    With a spec the result is exactly the frames that were read: a voxel `v` of channel
    c becomes `(v * std[c] + mean[c]) / scale`, rounded, in red-green-blue order.
    Without one, `uint8` stays as it is and anything else is stretched from its smallest
    to its largest value. One channel is shown as grey; so is the mean of any number
    that is not three (optical flow, for instance).

    Args:
      clip: [T, H, W, C] as the network takes it.
      spec: an object with `mean`, `std`, `scale` and `channel_order`, or None.

    Returns:
      uint8 [T, H, W, 3]. Voxels that are not finite become 0.

    Raises:
      ValueError: the clip is not [T, H, W, C], or the spec has other channels.
    """
    values = as_clip(clip)
    if spec is not None:
        values = _denormalise(values, spec)
    elif values.dtype != np.uint8:
        values = _stretch(values.astype(np.float64))
    if values.shape[-1] != 3:
        values = values.astype(np.float64).mean(axis=-1, keepdims=True)
        values = np.broadcast_to(values, (*values.shape[:3], 3))
    values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def as_clip(clip: Any) -> np.ndarray:
    """Returns the clip on the host, or says why it cannot be drawn."""
    if not hasattr(clip, "shape"):
        raise ValueError(
            f"`clip` must be one array [T, H, W, C], got {type(clip).__name__}; of a "
            "clip with several streams, pass the one to look at."
        )
    values = np.asarray(clip)
    if values.ndim != 4 or 0 in values.shape:
        raise ValueError(f"`clip` must be [T, H, W, C], got shape {values.shape}.")
    return values


def _denormalise(values: np.ndarray, spec: Look) -> np.ndarray:
    if len(spec.mean) != values.shape[-1]:
        raise ValueError(
            f"`spec` is for {len(spec.mean)} channels, but `clip` has "
            f"{values.shape[-1]}; pass the spec of the network this clip was read for."
        )
    pixels = (values.astype(np.float64) * spec.std + np.asarray(spec.mean)) / spec.scale
    return pixels[..., ::-1] if spec.channel_order == "bgr" else pixels


def _stretch(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.max() == finite.min():
        return np.full_like(values, 128.0)  # Nothing to see: neither black nor white.
    return (values - finite.min()) / (finite.max() - finite.min()) * 255
