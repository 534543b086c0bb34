"""What every metric with known evidence says of input that is not an array."""

import numpy as np
import pytest

from jaxattr import metrics

HEAT = np.arange(24.0).reshape(2, 3, 4)
MASK = HEAT > 20
BOXES = np.array([(0, 1, 1, 2), (0, 0, 2, 1)])
TRUTHS = {
    metrics.auprc: ("truth", MASK),
    metrics.top_k_iou: ("truth", MASK),
    metrics.energy: ("truth", MASK),
    metrics.hit: ("truth", MASK),
    metrics.energy_in_box: ("boxes", BOXES),
    metrics.pointing_game: ("boxes", BOXES),
    metrics.localisation_iou: ("boxes", BOXES),
    metrics.temporal_pointing: ("window", np.array([True, False])),
    metrics.temporal_iou: ("window", np.array([True, False])),
}


@pytest.mark.parametrize("metric", TRUTHS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("wrong", [None, {"rgb": HEAT}, (HEAT, HEAT[0]), "heat"])
def test_what_is_not_one_array_is_named(metric, wrong):
    name, truth = TRUTHS[metric]
    told = f"must be one array, got {type(wrong).__name__}"
    with pytest.raises(TypeError, match=f"`heatmap` {told}"):
        metric(wrong, truth)
    with pytest.raises(TypeError, match=f"`{name}` {told}"):
        metric(HEAT, wrong)
