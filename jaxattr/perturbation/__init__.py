"""Methods that perturb a clip and watch the score."""

from jaxattr.perturbation._activation_maximisation import (
    MaximisedActivation,
    activation_maximisation,
)
from jaxattr.perturbation._channel_extremal_perturbation import (
    ChannelMasks,
    channel_extremal_perturbation,
)
from jaxattr.perturbation._extremal import ExtremalMasks
from jaxattr.perturbation._extremal_perturbation import extremal_perturbation
from jaxattr.perturbation._fgvis import FineExplanation, fgvis
from jaxattr.perturbation._frequency_extremal_perturbation import (
    frequency_extremal_perturbation,
)
from jaxattr.perturbation._geometry import MaskGeometry, mask_geometry
from jaxattr.perturbation._greedy_regions import GreedyRegions, greedy_regions
from jaxattr.perturbation._grid_mask import GridMask
from jaxattr.perturbation._igos import igos
from jaxattr.perturbation._igos_pp import igos_pp
from jaxattr.perturbation._init_masking_model import init_masking_model
from jaxattr.perturbation._kernel_shap import ShapleyValues, kernel_shap
from jaxattr.perturbation._lime import LinearModel, lime
from jaxattr.perturbation._mask_generator import generate_mask
from jaxattr.perturbation._mask_loop import MaskHistory
from jaxattr.perturbation._masking_config import MaskingConfig
from jaxattr.perturbation._masking_model import PredictedMask, masking_model
from jaxattr.perturbation._meaningful_perturbation import meaningful_perturbation
from jaxattr.perturbation._meaningful_presets import MeaningfulConfig
from jaxattr.perturbation._occlusion import Occlusion, occlusion
from jaxattr.perturbation._perceptual_ball import PerceptualBall, perceptual_ball
from jaxattr.perturbation._presets import ExtremalConfig
from jaxattr.perturbation._reverse import reverse
from jaxattr.perturbation._rise import RandomMasks, rise
from jaxattr.perturbation._step import step
from jaxattr.perturbation._swag import SegmentGradient, swag
from jaxattr.perturbation._temporal_mask import TemporalMask, temporal_mask
from jaxattr.perturbation._train_masking_model import (
    MaskingHistory,
    TrainedMaskingModel,
    train_masking_model,
)
from jaxattr.perturbation._xrai import RegionAttribution, xrai

__all__ = [
    "ChannelMasks",
    "ExtremalConfig",
    "ExtremalMasks",
    "FineExplanation",
    "GreedyRegions",
    "GridMask",
    "LinearModel",
    "MaskGeometry",
    "MaskHistory",
    "MaskingConfig",
    "MaskingHistory",
    "MaximisedActivation",
    "MeaningfulConfig",
    "Occlusion",
    "PerceptualBall",
    "PredictedMask",
    "RandomMasks",
    "RegionAttribution",
    "SegmentGradient",
    "ShapleyValues",
    "TemporalMask",
    "TrainedMaskingModel",
    "activation_maximisation",
    "channel_extremal_perturbation",
    "extremal_perturbation",
    "fgvis",
    "frequency_extremal_perturbation",
    "generate_mask",
    "greedy_regions",
    "igos",
    "igos_pp",
    "init_masking_model",
    "kernel_shap",
    "lime",
    "mask_geometry",
    "masking_model",
    "meaningful_perturbation",
    "occlusion",
    "perceptual_ball",
    "reverse",
    "rise",
    "step",
    "swag",
    "temporal_mask",
    "train_masking_model",
    "xrai",
]
