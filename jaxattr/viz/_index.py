"""The page of pages: every clip of a run on one line, failed ones with the reason."""

import dataclasses
import pathlib
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np

from jaxattr.viz._files import Path, filling
from jaxattr.viz._html import escape, fill_template, image_uri
from jaxattr.viz._movie import pillow


@dataclasses.dataclass(frozen=True)
class IndexEntry:
    """One clip of a run.

    Attributes:
      name: what to call it.
      folder: where its report is, relative to the index; None where there is none.
      summary: one line: class, probability, methods, time.
      error: why it failed, or None.
    """

    name: str
    folder: str | None = None
    summary: str = ""
    error: str | None = None


def save_index(
    folder: Path,
    entries: Sequence[IndexEntry],
    *,
    title: str = "Explained clips",
    warnings: Sequence[str] = (),
) -> pathlib.Path:
    """Writes `index.html`, which links the reports of many clips.

    Thumbnails are taken from the reports' own folders and embedded.

    Args:
      folder: where to; made if need be.
      entries: in the order in which to list them.
      title: of the page.
      warnings: sentences that a reader must see first.

    Returns:
      The path of the page.

    Raises:
      OSError: `folder` cannot be written.
    """
    folder = pathlib.Path(folder)
    with filling(folder) as stage:
        page = _render(folder, entries, title, warnings)
        (stage / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def _render(folder, entries, title, warnings) -> str:
    failed = sum(e.error is not None for e in entries)
    count = f"{len(entries) - failed} of {len(entries)} clips explained"
    notes = "".join(f"<li>{escape(w)}</li>" for w in warnings)
    if notes:
        notes = f'<div class="banner" role="note"><ul>{notes}</ul></div>'
    return fill_template(
        title=title,
        eyebrow="What made the network decide",
        facts=f'<p class="lead">{count}.</p>',
        banner=f'<div class="banner" role="note"><ul>{notes}</ul></div>'
        if notes
        else "",
        body=f'<ol class="clips">{"".join(_item(folder, e) for e in entries)}</ol>',
        footer="",
        data="{}",
        script="",
    )


def _item(folder: pathlib.Path, entry: IndexEntry) -> str:
    name, picture = f"<b>{escape(entry.name)}</b>", '<span class="none">–</span>'
    if entry.folder is not None:
        name = f'<a href="{escape(quote(entry.folder))}/index.html">{name}</a>'
        picture = _thumbnail(folder / entry.folder / "thumbnail.png") or picture
    lines = f"<p>{escape(entry.summary)}</p>" if entry.summary else ""
    if entry.error is not None:
        lines += f'<p class="error">Failed: {escape(entry.error)}</p>'
    return f"<li>{picture}<div>{name}{lines}</div></li>"


def _thumbnail(path: pathlib.Path) -> str | None:
    if not path.is_file():
        return None
    with pillow().open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return f'<img alt="" src="{image_uri(pixels, quality=85)}">'
