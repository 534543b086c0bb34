"""What a report says, worked out once for the sheet, the films and the page."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxattr import _drawing
from jaxattr._heatmap import to_heatmap
from jaxattr.viz._archive import fields
from jaxattr.viz._resize import resize_frames
from jaxattr.viz._rgb import Look, to_rgb

_UNTRAINED = ("random", "untrained", "none")


class Masks(NamedTuple):
    """The masks of a STEP-like result.

    Attributes:
      name: of the method.
      masks: [A, T, H, W] from 0 to 1; 1 keeps.
      areas: [A] fraction of the clip that was asked for.
      kept: [A] probability that is left, or None.
      reached: [A] fraction that the mask covers, or None.
    """

    name: str
    masks: np.ndarray
    areas: np.ndarray
    kept: np.ndarray | None
    reached: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Content:
    """Everything that the pictures of one clip need; arrays are on the host.

    Attributes:
      title: of the page.
      rgb: uint8 [T, H, W, 3] as the network sees it.
      picture: uint8 [T, h, w, 3], the same view; from the source where there is one,
        which has more pixels.
      heatmaps: by method, [T, H, W] from 0 to 1.
      drawn_with: by method, the settings of `to_heatmap`.
      masks: of the methods that have them.
      times: T seconds, or None.
      label: name of the explained class, or None.
      prediction: (label, probability), most likely first.
      settings: what to print; a mapping inside makes a group.
      warnings: sentences to put in front of everything else.
      untrained: whether the network's weights are known to mean nothing.
    """

    title: str
    rgb: np.ndarray
    picture: np.ndarray
    heatmaps: dict[str, np.ndarray]
    drawn_with: dict[str, Mapping[str, Any]]
    masks: list[Masks]
    times: list[float] | None
    label: str | None
    prediction: list[tuple[str, float]]
    settings: Mapping[str, Any]
    warnings: list[str]
    untrained: bool

    @property
    def probability(self) -> float | None:
        """Of the explained class, where the prediction tells."""
        return dict(self.prediction).get(self.label) if self.label else None


def gather(
    clip: Any,
    results: Mapping[str, Any],
    *,
    spec: Look | None = None,
    target: Any = None,
    prediction: Sequence[tuple[str, float]] | None = None,
    source: Any = None,
    settings: Mapping[str, Any] | None = None,
    title: str | None = None,
    warnings: Sequence[str] = (),
    heatmaps: Mapping[str, Mapping[str, Any]] | None = None,
) -> Content:
    """Checks what `save_report` was given and turns it into `Content`."""
    rgb = to_rgb(clip, spec)
    settings, warnings = dict(settings or {}), [str(w) for w in warnings]
    heatmaps = heatmaps or {}
    _check_names(results, heatmaps)
    drawn, drawn_with, masks = {}, {}, []
    for name, result in results.items():
        parts = fields(result)
        values = _values(name, parts, rgb, warnings)
        drawings = {"masks": _drawing.masks, "cells": _drawing.cells}
        kind = next((drawings[k] for k in drawings if k in parts), _drawing.voxels)
        drawn_with[name] = dict(heatmaps.get(name, kind(values.shape)))
        drawn[name] = _heat(values, drawn_with[name])
        if parts.get("masks") is not None and parts.get("areas") is not None:
            masks.append(_masks(name, parts, rgb))
    weights = settings.get("weights", "not said")
    return Content(
        title=title or "Explanation of one clip",
        rgb=rgb,
        picture=rgb if source is None else source_view(source),
        heatmaps=drawn,
        drawn_with=drawn_with,
        masks=masks,
        times=_times(source, len(rgb)),
        label=_label(target, spec),
        prediction=[(str(label), float(p)) for label, p in prediction or ()],
        settings=settings,
        warnings=warnings,
        untrained=weights is None or str(weights).lower().startswith(_UNTRAINED),
    )


def _values(name: str, parts: dict, rgb: np.ndarray, warnings: list[str]) -> np.ndarray:
    if "values" not in parts:
        raise ValueError(
            f"`results[{name!r}]` has no field `values`; pass what `explain` returned."
        )
    values = np.asarray(parts["values"])
    if values.shape[:3] != rgb.shape[:3] or values.ndim not in (3, 4):
        raise ValueError(
            f"`results[{name!r}].values` must be [T, H, W] or [T, H, W, C] with "
            f"T, H, W = {rgb.shape[:3]} as `clip`, got {values.shape}; explain one "
            "clip at a time, and resize maps of a layer."
        )
    values = values.astype(np.promote_types(values.dtype, np.float32))
    missing = int((~np.isfinite(values)).sum())
    if missing:
        warnings.append(
            f"{name}: {missing} of {values.size} values are not finite and are shown "
            "as no evidence."
        )
        values = np.where(np.isfinite(values), values, 0)
    return values


def _check_names(results: Mapping[str, Any], heatmaps: Mapping[str, Any]) -> None:
    labels = [str(name) for name in results]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(
                f"`results` holds {label!r} twice; give every result its own name."
            )
    unknown = sorted(heatmaps.keys() - results.keys())
    if unknown:
        raise ValueError(f"`heatmaps` names {unknown}, which `results` does not hold.")


def _heat(values: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    heat = np.asarray(to_heatmap(jnp.asarray(values), **settings))
    if not heat.any() and settings.get("quantile", 1.0) < 1:
        settings["quantile"] = 1.0  # So sparse that all of it was an outlier.
        heat = np.asarray(to_heatmap(jnp.asarray(values), **settings))
    if heat.min() < 0 or heat.max() > 1:
        raise ValueError(
            f"`heatmaps` must give values in 0..1 to be drawn, got {settings} and "
            f"{heat.min():.3g}..{heat.max():.3g}."
        )
    return heat


def _masks(name: str, parts: dict, rgb: np.ndarray) -> Masks:
    masks, areas = np.asarray(parts["masks"]), np.atleast_1d(np.asarray(parts["areas"]))
    if masks.shape != (len(areas), *rgb.shape[:3]):
        raise ValueError(
            f"`results[{name!r}].masks` must be [A, T, H, W] = "
            f"{(len(areas), *rgb.shape[:3])}, got {masks.shape}."
        )
    order = np.argsort(areas, kind="stable")

    def sorted_(field):
        found = parts.get(field)
        return None if found is None else np.atleast_1d(np.asarray(found))[order]

    masks = np.clip(np.nan_to_num(masks[order]), 0, 1)
    return Masks(name, masks, areas[order], sorted_("kept"), sorted_("area_reached"))


def source_view(source: Any, height: int = 240) -> np.ndarray:
    """The part of the source's frames that the network sees, sharper than it sees it.

    Args:
      source: as `data.read_clip` returns it.
      height: pixels at most, unless the clip itself has more.

    Returns:
      uint8 [T, h, w, 3] of the clip's aspect.
    """
    g = source.geometry
    scale = [(g.box[i + 2] - g.box[i]) / g.resized[i] for i in (0, 1)]
    top, left = (g.box[i] + g.crop[i] * scale[i] for i in (0, 1))
    window = (left, top, left + g.size[1] * scale[1], top + g.size[0] * scale[0])
    height = max(g.size[0], min(height, round(g.size[0] * scale[0])))
    return resize_frames(source.frames, height, window=window, shape=g.size)


def _times(source: Any, num_frames: int) -> list[float] | None:
    if source is None:
        return None
    if len(source.times) != num_frames:
        raise ValueError(
            f"`source` has {len(source.times)} frames, but `clip` has {num_frames}."
        )
    times = [float(t) for t in source.times]
    return times if np.isfinite(times).all() else None


def _label(target: Any, spec: Any) -> str | None:
    if target is None or isinstance(target, str):
        return target
    labels = getattr(spec, "labels", ())
    if np.ndim(target) == 0 and 0 <= int(target) < len(labels):
        return str(labels[int(target)])
    return f"class {target}"
