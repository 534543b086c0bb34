"""Explaining video networks: which pixels, in which frames, made it decide."""

from jaxattr import data, metrics, viz
from jaxattr._control import control
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Score
from jaxattr._warnings import ExplanationWarning
from jaxattr.gradient import (
    blur_integrated_gradients,
    expected_gradients,
    input_x_gradient,
    integrated_gradients,
    mask_path_gradient,
    saliency,
    smooth_grad,
)
from jaxattr.perturbation import extremal_perturbation, step
from jaxattr.program import fold_convs

__all__ = [
    "ExplanationWarning",
    "Score",
    "blur_integrated_gradients",
    "control",
    "data",
    "expected_gradients",
    "extremal_perturbation",
    "fold_convs",
    "input_x_gradient",
    "integrated_gradients",
    "mask_path_gradient",
    "metrics",
    "saliency",
    "smooth_grad",
    "step",
    "to_heatmap",
    "viz",
]
