"""Gradient methods: derivatives of the score with respect to the clip."""

from jaxattr.gradient._blur_integrated_gradients import blur_integrated_gradients
from jaxattr.gradient._expected_gradients import ExpectedAttribution, expected_gradients
from jaxattr.gradient._integrated_gradients import PathAttribution, integrated_gradients
from jaxattr.gradient._mask_path_gradient import MaskPathGradient, mask_path_gradient
from jaxattr.gradient._saliency import GradientAttribution, input_x_gradient, saliency
from jaxattr.gradient._smooth_grad import SampledAttribution, smooth_grad

__all__ = [
    "ExpectedAttribution",
    "GradientAttribution",
    "MaskPathGradient",
    "PathAttribution",
    "SampledAttribution",
    "blur_integrated_gradients",
    "expected_gradients",
    "input_x_gradient",
    "integrated_gradients",
    "mask_path_gradient",
    "saliency",
    "smooth_grad",
]
