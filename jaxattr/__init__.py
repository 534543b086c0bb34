"""Explaining video networks: which pixels, in which frames, made it decide."""

from jaxattr import data, metrics, rules, viz
from jaxattr._control import control
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Score
from jaxattr._warnings import ExplanationWarning
from jaxattr.attention import (
    attention_rollout,
    gradient_rollout,
    knock_out,
    transformer_attribution,
)
from jaxattr.gradient import (
    blur_integrated_gradients,
    expected_gradients,
    input_x_gradient,
    integrated_gradients,
    mask_path_gradient,
    saliency,
    smooth_grad,
)
from jaxattr.layers import (
    cam,
    class_feature_pyramids,
    grad_cam,
    grad_cam_pp,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    linear_approximation,
    list_taps,
    saliency_tubes,
    score_cam,
    xgrad_cam,
    zoom_cam,
)
from jaxattr.perturbation import (
    extremal_perturbation,
    frequency_extremal_perturbation,
    igos,
    igos_pp,
    meaningful_perturbation,
    perceptual_ball,
    step,
    temporal_mask,
)
from jaxattr.program import fold_convs
from jaxattr.rules import (
    deconvnet,
    deep_lift,
    deep_taylor,
    excitation_backprop,
    guided_backprop,
    lrp,
)

__all__ = [
    "ExplanationWarning",
    "Score",
    "attention_rollout",
    "blur_integrated_gradients",
    "cam",
    "class_feature_pyramids",
    "control",
    "data",
    "deconvnet",
    "deep_lift",
    "deep_taylor",
    "excitation_backprop",
    "expected_gradients",
    "extremal_perturbation",
    "fold_convs",
    "frequency_extremal_perturbation",
    "grad_cam",
    "grad_cam_pp",
    "gradient_rollout",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "igos",
    "igos_pp",
    "input_x_gradient",
    "integrated_gradients",
    "knock_out",
    "layer_cam",
    "linear_approximation",
    "list_taps",
    "lrp",
    "mask_path_gradient",
    "meaningful_perturbation",
    "metrics",
    "perceptual_ball",
    "rules",
    "saliency",
    "saliency_tubes",
    "score_cam",
    "smooth_grad",
    "step",
    "temporal_mask",
    "to_heatmap",
    "transformer_attribution",
    "viz",
    "xgrad_cam",
    "zoom_cam",
]
