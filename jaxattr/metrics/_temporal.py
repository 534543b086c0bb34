"""Localisation in time: are the frames that matter the hot ones?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.metrics._ground_truth import (
    as_array,
    below_one,
    is_concrete,
    poison,
    read_heatmap,
)


class TemporalPointing(NamedTuple):
    """Whether the hottest frame is one that matters.

    Attributes:
      hit: [] 1 or 0; higher is better.
      frame: [] int32, the hottest frame.
      chance: [] share of the frames that matter.
    """

    hit: jax.Array
    frame: jax.Array
    chance: jax.Array


class TemporalIoU(NamedTuple):
    """Overlap of the hot frames and those that matter.

    Attributes:
      iou: [] intersection over union, 0 to 1; higher is better.
      hot: [T] bool, the frames that count as hot.
      constant: [] share of the frames that matter, which a constant map gets.
    """

    iou: jax.Array
    hot: jax.Array
    constant: jax.Array


def temporal_pointing(heatmap: jax.Array, window: jax.Array) -> TemporalPointing:
    """Asks whether the frame with the largest sum of heat is one that matters.

    For clips made of a part that shows the class and a part that does not. Of equal
    frames the first counts: a constant map points at frame 0, so put the part that
    matters first in half of the clips.

    Args:
      heatmap: [T, H, W]; any sign and scale.
      window: [T] bool, the frames that matter; at least one.

    Returns:
      `TemporalPointing`; higher is better, with chance beside it. NaN where traced
      input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, a window
        without a frame.
      TypeError: a heat map that is not floating point.

    References:
      Li et al., "Towards Visually Explaining Video Understanding Networks with
      Perturbation", WACV 2021, https://arxiv.org/abs/2005.00375, and its extension in
      TCSVT 2021: clips of two joined videos, the score is hits over clips.
    """
    heat, finite = read_heatmap(heatmap)
    window, some = _read_window(window, len(heat))
    return _pointing(heat, window, finite & some)


def temporal_iou(heatmap: jax.Array, window: jax.Array) -> TemporalIoU:
    """Compares the frames that are hot with those that matter.

    A frame is hot if its sum of heat reaches the middle between the coldest and the
    hottest frame's. Where all are equal all are hot, and the score is the share of
    frames that matter. What a random map gets has no closed form: run a random control.

    Args:
      heatmap: [T, H, W]; any sign and scale.
      window: [T] bool, the frames that matter; at least one.

    Returns:
      `TemporalIoU`; higher is better, 0 to 1. NaN where traced input is not legal.

    Raises:
      ValueError: shapes that do not fit, a heat map that is not finite, a window
        without a frame.
      TypeError: a heat map that is not floating point.

    References:
      Our definition.
    """
    heat, finite = read_heatmap(heatmap)
    window, some = _read_window(window, len(heat))
    return _iou(heat, window, finite & some)


def _read_window(window, num_frames):
    window = as_array("window", window)
    if window.shape != (num_frames,) or window.dtype != bool:
        raise ValueError(
            f"`window` must be bool [{num_frames}], one value a frame, got "
            f"{window.dtype} of shape {tuple(window.shape)}."
        )
    some = window.any()
    if is_concrete(some) and not some:
        raise ValueError("`window` is empty: no frame matters.")
    return window, some


@jax.jit
def _pointing(heat, window, valid):
    frame = below_one(heat).sum((1, 2)).argmax().astype(jnp.int32)
    hit, chance = window[frame].astype(heat.dtype), window.mean(dtype=heat.dtype)
    return poison(TemporalPointing(hit, frame, chance), valid)


@jax.jit
def _iou(heat, window, valid):
    frames = below_one(heat).sum((1, 2))
    hot = frames >= (frames.max() + frames.min()) / 2
    both, either = ((x.sum()).astype(heat.dtype) for x in (hot & window, hot | window))
    result = TemporalIoU(both / either, hot, window.mean(dtype=heat.dtype))
    return poison(result, valid)
