"""Flax NNX ports of spatio-temporal networks, with their published weights."""

from jaxattr_models import _extras  # noqa: F401

# isort: split

from jaxattr_models._catalogue import build, models
from jaxattr_models.evidence import evidence
from jaxattr_models.evidence_3d import evidence_3d
from jaxattr_models.evidence_factored import evidence_factored
from jaxattr_models.evidence_lstm import evidence_lstm
from jaxattr_models.evidence_transformer import evidence_transformer
from jaxattr_models.lrcn import lrcn
from jaxattr_models.resnet3d import mc3_18, r2plus1d_18, r3d_18
from jaxattr_models.spec import ClipSpec
from jaxattr_models.videomae import videomae
from jaxattr_models.vivit import vivit
from jaxattr_models.weights import CheckpointError, convert, fetch, load, save

__all__ = [
    "CheckpointError",
    "ClipSpec",
    "build",
    "convert",
    "evidence",
    "evidence_3d",
    "evidence_factored",
    "evidence_lstm",
    "evidence_transformer",
    "fetch",
    "load",
    "lrcn",
    "mc3_18",
    "models",
    "r2plus1d_18",
    "r3d_18",
    "save",
    "videomae",
    "vivit",
]
