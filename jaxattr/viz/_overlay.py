"""Heat and outlines over frames, in colours that colour-blind readers can tell."""

from typing import Any

import numpy as np

OUTLINE = (0, 214, 255)  # A blue that occurs neither in inferno nor in skin or grass.


def overlay(
    rgb: np.ndarray, heatmap: Any, *, colormap: str = "inferno", alpha: float = 0.85
) -> np.ndarray:
    """Lays a heat map over frames; where the heat is low the frame stays visible.

    Opacity grows with the value, o = alpha v (2 - v), and a pixel is
    (1 - o) frame + o colour(v): heat 0 is the frame itself and, at `alpha=1`, heat 1
    the colour itself. The bend shows middle values, whose colours are dark, on dark
    frames too.

    Args:
      rgb: uint8 [T, H, W, 3].
      heatmap: [T, H, W] from 0 to 1.
      colormap: a name that matplotlib knows; prefer perceptually uniform ones
        ("inferno", "magma", "viridis", "cividis").
      alpha: opacity at heat 1, from 0 to 1.

    Returns:
      uint8 [T, H, W, 3].

    Raises:
      ValueError: shapes that differ, values outside 0..1, an unknown `colormap`.
      ImportError: matplotlib is missing.
    """
    rgb, heat = check_frames(rgb), np.asarray(heatmap)
    if heat.shape != rgb.shape[:-1]:
        raise ValueError(
            f"`heatmap` must be [T, H, W] = {rgb.shape[:-1]} as `rgb`, got "
            f"{heat.shape}."
        )
    heat = heat.astype(np.float64)
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise ValueError(
            f"`heatmap` must lie in 0..1, got {heat.min()} to {heat.max()}; "
            "`jaxattr.to_heatmap` brings it there."
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` must lie in 0..1, got {alpha}.")
    colour = colours(colormap)[np.rint(heat * 255).astype(np.uint8)]
    opacity = (alpha * heat * (2 - heat))[..., None]
    return np.rint(rgb * (1 - opacity) + colour * opacity).astype(np.uint8)


def outline(
    rgb: np.ndarray,
    mask: Any,
    *,
    level: float = 0.5,
    colour: tuple[int, int, int] = OUTLINE,
    width: int = 1,
) -> np.ndarray:
    """Draws the contour of a mask: coloured just inside, darkened just outside.

    The edge of the frame is no contour: a mask that runs out of the picture is open.

    Args:
      rgb: uint8 [T, H, W, 3].
      mask: [T, H, W]; its contour at `level` is drawn.
      level: pixels at or above it are inside.
      colour: red, green and blue from 0 to 255.
      width: pixels, of the line and of its dark seam each.

    Returns:
      uint8 [T, H, W, 3].

    Raises:
      ValueError: shapes that differ.
    """
    rgb, inside = check_frames(rgb), np.asarray(mask) >= level
    if inside.shape != rgb.shape[:-1]:
        raise ValueError(
            f"`mask` must be [T, H, W] = {rgb.shape[:-1]} as `rgb`, got {inside.shape}."
        )
    line = inside & _grow(~inside, width)
    seam = ~inside & _grow(inside, width)
    drawn = rgb.copy()
    drawn[seam] = drawn[seam] // 3
    drawn[line] = colour
    return drawn


def colours(name: str) -> np.ndarray:
    """The colour map as a table: uint8 [256, 3]."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: `pip install 'jaxattr[viz]'`."
        ) from error
    if name not in matplotlib.colormaps:
        raise ValueError(
            f"`colormap` must be one that matplotlib knows, got {name!r}; "
            "try 'inferno', 'viridis' or 'cividis'."
        )
    table = matplotlib.colormaps[name](np.arange(256) / 255)
    return np.rint(table[:, :3] * 255).astype(np.uint8)


def check_frames(rgb: Any, name: str = "rgb") -> np.ndarray:
    """Returns uint8 frames [T, H, W, 3], or says what came instead."""
    frames = np.asarray(rgb)
    if (
        frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[-1] != 3
        or 0 in frames.shape
    ):
        raise ValueError(
            f"`{name}` must be uint8 [T, H, W, 3] as `viz.to_rgb` makes it, got "
            f"{frames.dtype} {frames.shape}."
        )
    return frames


def _grow(inside: np.ndarray, steps: int) -> np.ndarray:
    """Dilates each frame by 4-neighbours; [T, H, W] of bool."""
    for _ in range(steps):
        grown = inside.copy()
        grown[:, 1:] |= inside[:, :-1]
        grown[:, :-1] |= inside[:, 1:]
        grown[:, :, 1:] |= inside[:, :, :-1]
        grown[:, :, :-1] |= inside[:, :, 1:]
        inside = grown
    return inside
