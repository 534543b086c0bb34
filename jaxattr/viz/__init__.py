"""Pictures, films and pages of what a method found in a clip."""

from jaxattr.viz._index import IndexEntry, save_index
from jaxattr.viz._movie import save_gif, save_mp4
from jaxattr.viz._overlay import outline, overlay
from jaxattr.viz._plots import save_plots
from jaxattr.viz._report import save_report
from jaxattr.viz._rgb import to_rgb
from jaxattr.viz._sheet import contact_sheet, save_png
from jaxattr.viz._to_source import to_source

__all__ = [
    "IndexEntry",
    "contact_sheet",
    "outline",
    "overlay",
    "save_gif",
    "save_index",
    "save_mp4",
    "save_plots",
    "save_png",
    "save_report",
    "to_rgb",
    "to_source",
]
