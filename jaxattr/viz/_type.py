"""Lettering for pictures: two faces that are always there, and never another."""

import bisect
import functools
import pathlib


def write(draw, position, text: str, *, size: int, fill, anchor: str = "ls") -> None:
    """Writes one line of text; `position` and `anchor` are Pillow's."""
    draw.text(position, text, font=_face(text, size), fill=fill, anchor=anchor)


def measure(text: str, size: int) -> float:
    """Width of one line of text in pixels."""
    return _face(text, size).getlength(text)


def shorten(text: str, size: int, width: float) -> str:
    """Cuts text with an ellipsis so that it is at most `width` pixels wide."""
    text = " ".join(text.split())
    if measure(text, size) <= width:
        return text
    too_long = bisect.bisect_left(
        range(len(text)), True, key=lambda n: measure(text[:n] + "…", size) > width
    )
    return text[: too_long - 1].rstrip() + "…"


def _face(text: str, size: int):
    plain = all(c.isascii() or c in "·…“”‘’" for c in text)
    return _font(plain, size)


@functools.cache
def _font(plain: bool, size: int):
    from PIL import ImageFont

    if plain:  # Aileron, inside Pillow: handsome, but little beyond ASCII.
        return ImageFont.load_default(size)
    import matplotlib  # DejaVu Sans, inside matplotlib: Latin, Greek, Cyrillic, signs.

    fonts = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(fonts / "DejaVuSans.ttf", round(size * 0.92))
