"""Clips: reading and segmenting them, whole data sets, and ones of known cause."""

from jaxattr.data import evidence
from jaxattr.data._cat_ucf import CatSamples, Pair, cat_ucf
from jaxattr.data._decode import ClipSpec, Source
from jaxattr.data._epic_kitchens import epic_kitchens
from jaxattr.data._from_csv import from_csv
from jaxattr.data._from_records import RecordSamples, from_records
from jaxattr.data._geometry import Geometry
from jaxattr.data._kinetics import kinetics
from jaxattr.data._read_clip import read_clip
from jaxattr.data._sample import Sample, Samples
from jaxattr.data._something_something import something_something
from jaxattr.data._stitch import stitch
from jaxattr.data._supervoxels import supervoxels
from jaxattr.data._ucf101 import ucf101
from jaxattr.data._ucf101_24 import ucf101_24
from jaxattr.data._video_samples import VideoSamples
from jaxattr.data._windows import Windows, windows

__all__ = [
    "CatSamples",
    "ClipSpec",
    "Geometry",
    "Pair",
    "RecordSamples",
    "Sample",
    "Samples",
    "Source",
    "VideoSamples",
    "Windows",
    "cat_ucf",
    "epic_kitchens",
    "evidence",
    "from_csv",
    "from_records",
    "kinetics",
    "read_clip",
    "something_something",
    "stitch",
    "supervoxels",
    "ucf101",
    "ucf101_24",
    "windows",
]
