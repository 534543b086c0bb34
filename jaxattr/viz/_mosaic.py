"""The clip and its maps side by side in every frame, named: what the films show."""

import math
from collections.abc import Mapping

import numpy as np

from jaxattr.viz._movie import pillow
from jaxattr.viz._overlay import overlay
from jaxattr.viz._resize import resize_frames, resize_maps
from jaxattr.viz._type import shorten, write

_GROUND, _INK = (18, 18, 20), (236, 234, 229)
_GAP, _CAPTION, _TEXT = 8, 34, 16


def mosaic(
    rgb: np.ndarray, heatmaps: Mapping[str, np.ndarray], *, height: int = 224
) -> np.ndarray:
    """Tiles the clip and one overlay per method in one row, many of them in two.

    Args:
      rgb: uint8 [T, h, w, 3].
      heatmaps: by name, [T, H, W] from 0 to 1, of any size and the same view.
      height: pixels of one tile.

    Returns:
      uint8 [T, h, w, 3].
    """
    frames = resize_frames(rgb, height)
    names, tiles = ["clip", *heatmaps], [frames]
    for heat in heatmaps.values():
        tiles.append(overlay(frames, resize_maps(heat, height, rgb.shape[1:3])))
    columns = len(tiles) if len(tiles) <= 5 else math.ceil(len(tiles) / 2)
    rows = math.ceil(len(tiles) / columns)
    width = frames.shape[2]
    ground = _ground(names, rows, columns, height, width)
    out = np.broadcast_to(ground, (len(rgb), *ground.shape)).copy()
    for i, tile in enumerate(tiles):
        x, y = _corner(i, columns, height, width)
        out[:, y : y + height, x : x + width] = tile
    return out


def _ground(names, rows, columns, height, width) -> np.ndarray:
    from PIL import ImageDraw

    size = (
        _GAP + columns * (width + _GAP),
        rows * (_CAPTION + height) + _GAP,
    )
    picture = pillow().new("RGB", size, _GROUND)
    draw = ImageDraw.Draw(picture)
    for i, name in enumerate(names):
        x, y = _corner(i, columns, height, width)
        text = shorten(name, _TEXT, width)
        write(draw, (x, y - 10), text, size=_TEXT, fill=_INK)
    return np.asarray(picture)


def _corner(i: int, columns: int, height: int, width: int) -> tuple[int, int]:
    row, column = divmod(i, columns)
    return _GAP + column * (width + _GAP), _CAPTION + row * (_CAPTION + height)
