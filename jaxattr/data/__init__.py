"""Clips: reading them as a network wants them, and making ones of known cause."""

from jaxattr.data import evidence
from jaxattr.data._geometry import Geometry
from jaxattr.data._read_clip import ClipSpec, Source, read_clip

__all__ = ["ClipSpec", "Geometry", "Source", "evidence", "read_clip"]
