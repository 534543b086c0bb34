"""One clip, explained: raw values, pictures, films and a page, all in one folder."""

import importlib.metadata
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxattr.viz._archive import save_values
from jaxattr.viz._content import Content, gather
from jaxattr.viz._files import Path, filling
from jaxattr.viz._html import percent, plain_text
from jaxattr.viz._mosaic import mosaic
from jaxattr.viz._movie import pillow, save_gif, save_mp4
from jaxattr.viz._overlay import overlay
from jaxattr.viz._page import frame_names, render_page
from jaxattr.viz._resize import resize_frames, resize_maps
from jaxattr.viz._rgb import Look
from jaxattr.viz._sheet import contact_sheet, save_png


def save_report(
    folder: Path,
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
    fps: float = 8.0,
) -> pathlib.Path:
    """Writes what the methods found in one clip, for people and for programs.

    `folder` receives `values.npz` (every array of every result as `<method>/<field>`,
    the clip, and JSON `metadata`), `sheet.png`, `overlay.gif`, `overlay.mp4`,
    `thumbnail.png` and `index.html`, one page that needs nothing else, not even a
    network. Results with `masks` and `areas` (STEP and its family) get a section on
    how little of the clip is enough. Maps are drawn by `to_heatmap` with the settings
    of the video study (`metadata` keeps them): gradients clipped at their 99.9 %
    quantile, sums of masks blurred by 10/112 of the height.

    Args:
      folder: where to; made if need be. Files of the same names are replaced, all of
        them once everything is ready, or none.
      clip: [T, H, W, C] as the network takes it.
      results: by name of the method, what `explain` returned for this one clip.
      spec: what undoes the network's normalisation and names the classes.
      target: the explained class: its index, or its label.
      prediction: (label, probability), most likely first. If the explained class is
        among them, its probability stands beside the masks' own.
      source: what `data.read_clip(return_source=True)` returned: its `times` name the
        frames, and its `frames` are shown, which are sharper than the network's.
      settings: what to print and keep. `network` and `weights` also stand at the top;
        weights that are None or begin with "random" or "untrained" put a banner there.
        Mappings inside make groups, such as one per method.
      title: of the page; the clip's name, as a rule.
      warnings: sentences that a reader must see first.
      heatmaps: by name of the method, settings of `to_heatmap` to draw it with, where
        it should not be as above.
      fps: speed of the films, in frames per second.

    Returns:
      The path of the page.

    Raises:
      OSError: `folder` cannot be written; raised before any work.
      ValueError: shapes that do not fit, no results, or two of one name.
      ImportError: Pillow, matplotlib or PyAV is missing: `jaxattr[viz,video]`.

    References:
      Li et al., "Spatio-Temporal Perturbations for Video Attribution", 2021: the
      blurred sum of masks as the picture of STEP.
    """
    if not results:
        raise ValueError("`results` is empty: pass at least one method's result.")
    folder = pathlib.Path(folder)
    with filling(folder) as stage:
        content = gather(
            clip,
            results,
            spec=spec,
            target=target,
            prediction=prediction,
            source=source,
            settings=settings,
            title=title,
            warnings=warnings,
            heatmaps=heatmaps,
        )
        save_values(stage / "values.npz", clip, results, _metadata(content, target))
        save_png(stage / "sheet.png", _sheet(content))
        film = mosaic(content.picture, content.heatmaps)
        save_gif(stage / "overlay.gif", film, fps)
        save_mp4(stage / "overlay.mp4", film, fps)
        save_png(stage / "thumbnail.png", _thumbnail(content))
        (stage / "index.html").write_text(render_page(content), encoding="utf-8")
    return folder / "index.html"


def _metadata(content: Content, target: Any) -> dict[str, Any]:
    return {
        "jaxattr": importlib.metadata.version("jaxattr"),
        "title": content.title,
        "target": target,
        "label": content.label,
        "prediction": content.prediction,
        "times": content.times,
        "settings": content.settings,
        "warnings": content.warnings,
        "heatmaps": content.drawn_with,
    }


def _sheet(content: Content):
    facts = []
    if "network" in content.settings:
        facts.append(plain_text(content.settings["network"]))
    if "weights" in content.settings:
        facts.append(f"weights: {plain_text(content.settings['weights'])}")
    if content.label is not None:
        facts.append(f"“{content.label}”")
    if content.probability is not None:
        facts.append(f"p = {content.probability:.3f}")
    height, shape = content.picture.shape[1], content.picture.shape[1:3]
    heatmaps = {
        name: resize_maps(heat, height, shape)
        for name, heat in content.heatmaps.items()
    }
    masks, notes = {}, {}
    for found in content.masks:
        for i, area in enumerate(found.areas):
            name = f"{found.name}, {percent(area)}"
            if name in masks:  # Areas that differ only in further digits.
                name = f"{name} ({i + 1})"
            masks[name] = resize_maps(found.masks[i], height, shape)
            if found.kept is not None:
                notes[name] = f"kept {float(found.kept[i]):.3f}"
    return contact_sheet(
        content.picture,
        heatmaps,
        masks=masks,
        notes=notes,
        title=content.title,
        subtitle=" · ".join(facts),
        frame_labels=frame_names(content, short=True),
    )


def _thumbnail(content: Content):
    """The frame in which the first method found most, with its heat."""
    heat = next(iter(content.heatmaps.values()))
    t = int(heat.sum(axis=(1, 2)).argmax())
    frame = resize_frames(content.picture[t : t + 1], 168)
    heat = resize_maps(heat[t : t + 1], 168, content.picture.shape[1:3])
    return pillow().fromarray(overlay(frame, heat)[0])
