"""The contact sheet: one picture of a clip and of what each method says about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxattr.viz._files import Path, replacing
from jaxattr.viz._movie import pillow
from jaxattr.viz._overlay import check_frames, colours, outline, overlay
from jaxattr.viz._resize import resize_frames, resize_maps
from jaxattr.viz._type import measure, shorten, write

_PAPER, _INK, _MUTED = (255, 255, 255), (24, 24, 27), (113, 113, 122)
_MARGIN, _GAP, _TITLE, _TEXT, _SMALL = 40, 6, 34, 18, 15


def contact_sheet(
    rgb: np.ndarray,
    heatmaps: Mapping[str, Any],
    *,
    masks: Mapping[str, Any] | None = None,
    title: str = "",
    subtitle: str = "",
    frame_labels: Sequence[str] | None = None,
    notes: Mapping[str, str] | None = None,
    colormap: str = "inferno",
    alpha: float = 0.85,
    num_columns: int = 8,
    cell_height: int = 168,
):
    """Draws rows of methods over columns of frames, the clip itself on top.

    Args:
      rgb: uint8 [T, H, W, 3].
      heatmaps: by name, [T, H, W] from 0 to 1: one row each.
      masks: by name, [T, H, W]: one row each with the contour of the mask at one half.
      title: the first line.
      subtitle: the second line: network, weights, class, probability.
      frame_labels: T labels of columns; frame numbers without them.
      notes: by name of a row, a second, smaller line beside it.
      colormap: as for `overlay`.
      alpha: as for `overlay`.
      num_columns: at most so many frames, spread evenly from the first to the last.
      cell_height: pixels of one frame; small clips are enlarged.

    Returns:
      A Pillow image in RGB.

    Raises:
      ValueError: shapes that do not fit.
      ImportError: Pillow or matplotlib is missing.
    """
    image, rgb = pillow(), check_frames(rgb)
    names = [f"frame {t}" for t in range(len(rgb))]
    if frame_labels is not None:
        names = list(frame_labels)
    if len(names) != len(rgb):
        raise ValueError(
            f"`frame_labels` must name {len(rgb)} frames, got {len(names)}."
        )
    chosen = (
        np.linspace(0, len(rgb) - 1, min(num_columns, len(rgb))).round().astype(int)
    )
    frames = resize_frames(rgb[chosen], cell_height)
    rows = [("clip", frames)]
    for name, heat in heatmaps.items():
        heat = resize_maps(_check_map(heat, rgb, name)[chosen], cell_height)
        rows.append((name, overlay(frames, heat, colormap=colormap, alpha=alpha)))
    for name, mask in (masks or {}).items():
        mask = resize_maps(_check_map(mask, rgb, name)[chosen], cell_height)
        rows.append((name, outline(frames, mask, width=2)))
    notes = dict(notes or {})
    gutter = _gutter(rows, notes)
    head = _head_height(title, subtitle)
    width, height = frames.shape[2], cell_height
    sheet = image.new(
        "RGB",
        (
            max(2 * _MARGIN + gutter + len(chosen) * (width + _GAP) - _GAP, 560),
            head + len(rows) * (height + _GAP) + 56,
        ),
        _PAPER,
    )
    _write_head(sheet, title, subtitle)
    left = _MARGIN + gutter
    for column, t in enumerate(chosen.tolist()):
        _label(sheet, (left + column * (width + _GAP), head - 10), names[t], width)
    for row, (name, cells) in enumerate(rows):
        top = head + row * (height + _GAP)
        _write_row_name(sheet, top + height // 2, name, notes.get(name, ""), gutter)
        for column, cell in enumerate(cells):
            sheet.paste(image.fromarray(cell), (left + column * (width + _GAP), top))
    if heatmaps:
        _draw_legend(sheet, left, colours(colormap))
    return sheet


def save_png(path: Path, picture) -> None:
    """Writes a Pillow image as PNG, in one step."""
    with replacing(path) as part:
        picture.save(part, format="PNG")


def _check_map(values: Any, rgb: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != rgb.shape[:-1]:
        raise ValueError(
            f"the map of {name!r} must be [T, H, W] = {rgb.shape[:-1]}, got "
            f"{values.shape}."
        )
    return values


def _gutter(rows: list, notes: Mapping[str, str]) -> int:
    widest = max(measure(name, _TEXT) for name, _ in rows)
    widest = max([widest, *(measure(note, _SMALL) for note in notes.values())])
    return min(260, int(widest) + 1) + 20


def _head_height(title: str, subtitle: str) -> int:
    return _MARGIN + (48 if title else 0) + (32 if subtitle else 0) + 32


def _write_head(sheet, title: str, subtitle: str) -> None:
    draw, y, width = _draw(sheet), _MARGIN, sheet.width - 2 * _MARGIN
    if title:
        text = shorten(title, _TITLE, width)
        write(draw, (_MARGIN, y + 28), text, size=_TITLE, fill=_INK)
        y += 48
    if subtitle:
        text = shorten(subtitle, _TEXT, width)
        write(draw, (_MARGIN, y + 18), text, size=_TEXT, fill=_MUTED)


def _label(sheet, position, text: str, width: int) -> None:
    text = shorten(text, _SMALL, width)
    write(_draw(sheet), position, text, size=_SMALL, fill=_MUTED)


def _write_row_name(sheet, middle: int, name: str, note: str, gutter: int) -> None:
    draw, room = _draw(sheet), gutter - 20
    baseline = middle + 6 - (10 if note else 0)
    text = shorten(name, _TEXT, room)
    write(draw, (_MARGIN, baseline), text, size=_TEXT, fill=_INK)
    if note:
        text = shorten(note, _SMALL, room)
        write(draw, (_MARGIN, baseline + 22), text, size=_SMALL, fill=_MUTED)


def _draw_legend(sheet, left: int, table: np.ndarray) -> None:
    """A colour bar under the cells, from little to much evidence."""
    bar = np.broadcast_to(table[None], (10, 256, 3)).astype(np.uint8)
    y = sheet.height - 38
    draw = _draw(sheet)
    write(draw, (left, y + 10), "less", size=_SMALL, fill=_MUTED)
    x = left + int(measure("less", _SMALL)) + 10
    sheet.paste(pillow().fromarray(bar), (x, y))
    write(draw, (x + 266, y + 10), "more evidence", size=_SMALL, fill=_MUTED)


def _draw(sheet):
    from PIL import ImageDraw

    return ImageDraw.Draw(sheet)
