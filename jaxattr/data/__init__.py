"""Clips: reading and segmenting them, and making ones of known cause."""

from jaxattr.data import evidence
from jaxattr.data._geometry import Geometry
from jaxattr.data._read_clip import ClipSpec, Source, read_clip
from jaxattr.data._sample import Sample, Samples
from jaxattr.data._supervoxels import supervoxels

__all__ = [
    "ClipSpec",
    "Geometry",
    "Sample",
    "Samples",
    "Source",
    "evidence",
    "read_clip",
    "supervoxels",
]
