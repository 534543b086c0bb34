"""Methods that perturb a clip and watch the score."""

from jaxattr.perturbation._extremal import ExtremalMasks
from jaxattr.perturbation._extremal_perturbation import extremal_perturbation
from jaxattr.perturbation._frequency_extremal_perturbation import (
    frequency_extremal_perturbation,
)
from jaxattr.perturbation._geometry import MaskGeometry, mask_geometry
from jaxattr.perturbation._grid_mask import GridMask
from jaxattr.perturbation._igos import igos
from jaxattr.perturbation._igos_pp import igos_pp
from jaxattr.perturbation._mask_generator import generate_mask
from jaxattr.perturbation._mask_loop import MaskHistory
from jaxattr.perturbation._meaningful_perturbation import meaningful_perturbation
from jaxattr.perturbation._meaningful_presets import MeaningfulConfig
from jaxattr.perturbation._perceptual_ball import PerceptualBall, perceptual_ball
from jaxattr.perturbation._presets import ExtremalConfig
from jaxattr.perturbation._reverse import reverse
from jaxattr.perturbation._step import step
from jaxattr.perturbation._temporal_mask import TemporalMask, temporal_mask

__all__ = [
    "ExtremalConfig",
    "ExtremalMasks",
    "GridMask",
    "MaskGeometry",
    "MaskHistory",
    "MeaningfulConfig",
    "PerceptualBall",
    "TemporalMask",
    "extremal_perturbation",
    "frequency_extremal_perturbation",
    "generate_mask",
    "igos",
    "igos_pp",
    "mask_geometry",
    "meaningful_perturbation",
    "perceptual_ball",
    "reverse",
    "step",
    "temporal_mask",
]
