"""Methods that perturb a clip and watch the score."""

from jaxattr.perturbation._extremal import ExtremalMasks, MaskHistory
from jaxattr.perturbation._extremal_perturbation import extremal_perturbation
from jaxattr.perturbation._geometry import MaskGeometry, mask_geometry
from jaxattr.perturbation._mask_generator import generate_mask
from jaxattr.perturbation._presets import ExtremalConfig
from jaxattr.perturbation._rise import RandomMasks, rise
from jaxattr.perturbation._step import step

__all__ = [
    "ExtremalConfig",
    "ExtremalMasks",
    "MaskGeometry",
    "MaskHistory",
    "RandomMasks",
    "extremal_perturbation",
    "generate_mask",
    "mask_geometry",
    "rise",
    "step",
]
