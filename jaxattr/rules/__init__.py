"""Methods that change how operations propagate backward."""

from jaxattr.rules._deep_lift import Contributions, deep_lift
from jaxattr.rules._excitation_backprop import ExcitationMap, excitation_backprop
from jaxattr.rules._gradient_filter import gradient_filter
from jaxattr.rules._guided_backprop import RuleAttribution, deconvnet, guided_backprop
from jaxattr.rules._lrp import Product, Relevances, deep_taylor, lrp
from jaxattr.rules._lrp_rules import (
    AlphaBeta,
    Bounded,
    Epsilon,
    Flat,
    Gamma,
    Squared,
)
from jaxattr.rules._replaced import Replaced, replaced

__all__ = [
    "AlphaBeta",
    "Bounded",
    "Contributions",
    "Epsilon",
    "ExcitationMap",
    "Flat",
    "Gamma",
    "Product",
    "Relevances",
    "Replaced",
    "RuleAttribution",
    "Squared",
    "deconvnet",
    "deep_lift",
    "deep_taylor",
    "excitation_backprop",
    "gradient_filter",
    "guided_backprop",
    "lrp",
    "replaced",
]
