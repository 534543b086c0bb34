"""A clip whose evidence is known: a disc that moves, and results that point at it."""

from typing import NamedTuple

import numpy as np
import pytest


class Map(NamedTuple):
    values: np.ndarray
    residual: float | None = None


class Masked(NamedTuple):
    values: np.ndarray
    masks: np.ndarray
    areas: np.ndarray
    kept: np.ndarray | None = None
    area_reached: np.ndarray | None = None
    history: dict | None = None


class Spec:
    mean = (0.4, 0.5, 0.3)
    std = (0.2, 0.25, 0.3)
    scale = 1 / 255
    channel_order = "rgb"
    labels = ("left", "right")


@pytest.fixture
def spec():
    return Spec()


@pytest.fixture
def rgb():
    """uint8 [5, 24, 32, 3]: a light disc moves right over a dark gradient."""
    t, y, x = np.mgrid[:5, :24, :32]
    disc = np.hypot(y - 12, x - 6 - 5 * t) < 5
    frames = np.stack([40 + y, 50 + x, 60 + y + x], -1).astype(np.uint8)
    frames[disc] = (220, 180, 90)
    return frames


@pytest.fixture
def clip(rgb, spec):
    return ((rgb / 255 - spec.mean) / spec.std).astype(np.float32)


@pytest.fixture
def results(rgb):
    t, y, x = np.mgrid[:5, :24, :32]
    distance = np.hypot(y - 12, x - 6 - 5 * t)
    masks = np.stack([distance < r for r in (4, 7)]).astype(np.float32)
    signed = np.random.default_rng(0).normal(size=rgb.shape) * (distance < 6)[..., None]
    return {
        "step": Masked(
            masks.sum(0),
            masks,
            np.asarray([0.05, 0.1]),
            np.asarray([0.7, 0.9]),
            masks.mean((1, 2, 3)),
            {"loss": np.arange(3.0)},
        ),
        "integrated_gradients": Map(signed, 0.25),
        "cam": Map(np.exp(-distance)),
    }
