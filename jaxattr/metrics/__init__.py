"""Metrics: how far a heat map can be trusted."""

from jaxattr.metrics._aopc import Perturbation, PerturbationGap, abpc, aopc
from jaxattr.metrics._auprc import AveragePrecision, auprc
from jaxattr.metrics._average_drop import AverageDrop, average_drop
from jaxattr.metrics._bootstrap import Interval, paired_bootstrap
from jaxattr.metrics._boxes import boxes_to_mask, mask_to_boxes
from jaxattr.metrics._completeness import Completeness, completeness
from jaxattr.metrics._complexity import complexity
from jaxattr.metrics._curve import CausalCurve
from jaxattr.metrics._degrade import degrade
from jaxattr.metrics._deletion import deletion
from jaxattr.metrics._diagnosis import TemporalDiagnosis, temporal_diagnosis
from jaxattr.metrics._energy import Energy, energy, energy_in_box
from jaxattr.metrics._faithfulness import Faithfulness, faithfulness
from jaxattr.metrics._infidelity import Infidelity, infidelity
from jaxattr.metrics._input_invariance import InputInvariance, input_invariance
from jaxattr.metrics._insertion import insertion
from jaxattr.metrics._krippendorff import krippendorff_alpha
from jaxattr.metrics._localisation_iou import LocalisationIoU, localisation_iou
from jaxattr.metrics._max_sensitivity import MaxSensitivity, max_sensitivity
from jaxattr.metrics._pointing_game import Hit, PointingGame, hit, pointing_game
from jaxattr.metrics._rank_correlation import rank_correlation
from jaxattr.metrics._reliability import Reliability, reliability
from jaxattr.metrics._retrain import (
    Explained,
    Retrained,
    Train,
    keep_and_retrain,
    remove_and_retrain,
)
from jaxattr.metrics._road import Road, road
from jaxattr.metrics._sanity_check import SanityCheck, sanity_check
from jaxattr.metrics._stability import Stability, stability
from jaxattr.metrics._static_dynamic import StaticDynamic, static_dynamic_split
from jaxattr.metrics._temporal import (
    TemporalIoU,
    TemporalPointing,
    temporal_iou,
    temporal_pointing,
)
from jaxattr.metrics._top_k_iou import TopKIoU, top_k_iou

__all__ = [
    "AverageDrop",
    "AveragePrecision",
    "CausalCurve",
    "Completeness",
    "Energy",
    "Explained",
    "Faithfulness",
    "Hit",
    "Infidelity",
    "InputInvariance",
    "Interval",
    "LocalisationIoU",
    "MaxSensitivity",
    "Perturbation",
    "PerturbationGap",
    "PointingGame",
    "Reliability",
    "Retrained",
    "Road",
    "SanityCheck",
    "Stability",
    "StaticDynamic",
    "TemporalDiagnosis",
    "TemporalIoU",
    "TemporalPointing",
    "TopKIoU",
    "Train",
    "abpc",
    "aopc",
    "auprc",
    "average_drop",
    "boxes_to_mask",
    "completeness",
    "complexity",
    "degrade",
    "deletion",
    "energy",
    "energy_in_box",
    "faithfulness",
    "hit",
    "infidelity",
    "input_invariance",
    "insertion",
    "keep_and_retrain",
    "krippendorff_alpha",
    "localisation_iou",
    "mask_to_boxes",
    "max_sensitivity",
    "paired_bootstrap",
    "pointing_game",
    "rank_correlation",
    "reliability",
    "remove_and_retrain",
    "road",
    "sanity_check",
    "stability",
    "static_dynamic_split",
    "temporal_diagnosis",
    "temporal_iou",
    "temporal_pointing",
    "top_k_iou",
]
