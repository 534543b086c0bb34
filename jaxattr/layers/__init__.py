"""Methods that look at a layer inside the network."""

from jaxattr.layers._cam import cam, saliency_tubes
from jaxattr.layers._class_feature_pyramids import (
    FeaturePyramid,
    PyramidLevel,
    class_feature_pyramids,
)
from jaxattr.layers._grad_cam import grad_cam
from jaxattr.layers._grad_cam_pp import grad_cam_pp
from jaxattr.layers._guided_grad_cam import guided_grad_cam
from jaxattr.layers._hires_cam import hires_cam
from jaxattr.layers._layer_cam import layer_cam
from jaxattr.layers._layer_map import LayerAttribution
from jaxattr.layers._linear_approximation import linear_approximation
from jaxattr.layers._list_taps import Tap, list_taps
from jaxattr.layers._score_cam import score_cam
from jaxattr.layers._xgrad_cam import xgrad_cam
from jaxattr.layers._zoom_cam import zoom_cam

__all__ = [
    "FeaturePyramid",
    "LayerAttribution",
    "PyramidLevel",
    "Tap",
    "cam",
    "class_feature_pyramids",
    "grad_cam",
    "grad_cam_pp",
    "guided_grad_cam",
    "hires_cam",
    "layer_cam",
    "linear_approximation",
    "list_taps",
    "saliency_tubes",
    "score_cam",
    "xgrad_cam",
    "zoom_cam",
]
