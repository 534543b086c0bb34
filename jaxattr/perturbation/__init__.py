"""Methods that perturb a clip and watch the score."""

from jaxattr.perturbation._extremal import ExtremalMasks, MaskHistory
from jaxattr.perturbation._extremal_perturbation import extremal_perturbation
from jaxattr.perturbation._geometry import MaskGeometry, mask_geometry
from jaxattr.perturbation._greedy_regions import GreedyRegions, greedy_regions
from jaxattr.perturbation._kernel_shap import ShapleyValues, kernel_shap
from jaxattr.perturbation._lime import LinearModel, lime
from jaxattr.perturbation._mask_generator import generate_mask
from jaxattr.perturbation._occlusion import Occlusion, occlusion
from jaxattr.perturbation._presets import ExtremalConfig
from jaxattr.perturbation._rise import RandomMasks, rise
from jaxattr.perturbation._step import step
from jaxattr.perturbation._swag import SegmentGradient, swag
from jaxattr.perturbation._xrai import RegionAttribution, xrai

__all__ = [
    "ExtremalConfig",
    "ExtremalMasks",
    "GreedyRegions",
    "LinearModel",
    "MaskGeometry",
    "MaskHistory",
    "Occlusion",
    "RandomMasks",
    "RegionAttribution",
    "SegmentGradient",
    "ShapleyValues",
    "extremal_perturbation",
    "generate_mask",
    "greedy_regions",
    "kernel_shap",
    "lime",
    "mask_geometry",
    "occlusion",
    "rise",
    "step",
    "swag",
    "xrai",
]
