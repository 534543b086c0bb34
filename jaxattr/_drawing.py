"""How each kind of attribution is drawn: settings of `to_heatmap`, in one place.

The table of methods says which kind a method gives; a page that knows results alone
tells masks from voxels.
"""

from collections.abc import Mapping
from typing import Any


def voxels(shape: tuple[int, ...]) -> Mapping[str, Any]:
    """The study's: mean absolute value over channels, cut at the 99.9 % quantile."""
    return {"channels": "abs_mean", "quantile": 0.999}


def masks(shape: tuple[int, ...]) -> Mapping[str, Any]:
    """The study's summed map: every frame blurred by 10 pixels at 112, over its top."""
    return {
        "channels": "positive_mean",
        "blur": 10 * shape[1] / 112,
        "normalise": "max",
    }


def cells(shape: tuple[int, ...]) -> Mapping[str, Any]:
    """What speaks for the target: the positive part."""
    return {"channels": "positive_mean", "normalise": "max"}
