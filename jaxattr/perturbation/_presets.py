"""Settings of the extremal family, as published and as tuned."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxattr._expectation import check_count


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:  # Arrays compare oddly.
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}, got {value!r}."
        )


def check_weights(**values: object) -> None:
    """Raises ValueError unless all are finite numbers of at least 0."""
    for name, value in values.items():
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not (number and 0 <= value < math.inf):
            raise ValueError(f"`{name}` must be a number of at least 0, got {value!r}.")


@dataclasses.dataclass(frozen=True)
class ExtremalConfig:
    """Everything about an extremal mask that a paper tunes.

    Attributes:
      num_iterations: gradients per mask.
      optimiser: "momentum" (published: 0.9, dampened by 0.9) or "adam" (normalised by
        one second moment per mask).
      learning_rate: of the first iteration.
      final_learning_rate: of the last one, reached along a cosine; None: as the first.
      reward_weight: factor of the reward.
      area_weight: factor of the area term at the first iteration.
      area_growth: by which it is multiplied per published iteration.
      final_area_weight: area weight of the last iteration, reached geometrically
        however many there are; None leaves it to `area_growth`.
      core_weight: factor of the core term, where the method has one.
      core_start: published iteration from which on it counts.
      clock: published iterations that one iteration stands for.
      warm_levels: levels of the path gradient that the start is made of; empty starts
        from masks of ones, as published.
      warm_share: cells that start high, as a multiple of the area.
      warm_values: start of the other cells and of those.
      warm_passes: how often the path gradient is smoothed, in time and in space.
      ties: "shuffle" or "expected"; see `extremal_perturbation`.
      tolerance: stop once ten iterations move the masks' cells by less than this on
        average; None never does.
      step: pixels between cells, and the other sizes of
        `jaxattr.perturbation.MaskGeometry`; None chooses them from the clip's shape.
      sigma: see `step`.
      blur: see `step`.
      core_frames: see `step`.
      core_size: see `step`.
      core_shape: "ellipsoid" or "cylinder".
    """

    num_iterations: int = 1200
    optimiser: str = "momentum"
    learning_rate: float = 0.05
    final_learning_rate: float | None = None
    reward_weight: float = 1.0
    area_weight: float = 300.0
    area_growth: float = 1.0008668
    final_area_weight: float | None = None
    core_weight: float = 300.0
    core_start: int = 101
    clock: float = 1.0
    warm_levels: tuple[float, ...] = ()
    warm_share: float = 1.2
    warm_values: tuple[float, float] = (0.5, 1.0)
    warm_passes: tuple[int, int] = (6, 2)
    ties: str = "shuffle"
    tolerance: float | None = None
    step: int | None = None
    sigma: float | None = None
    blur: float | None = None
    core_frames: int | None = None
    core_size: int | None = None
    core_shape: str = "ellipsoid"

    def __post_init__(self):
        for name in ("warm_levels", "warm_values", "warm_passes"):
            object.__setattr__(self, name, _as_tuple(name, getattr(self, name)))
        for field in dataclasses.fields(self):
            _check_hashable(field.name, getattr(self, field.name))
        check_choice("optimiser", self.optimiser, ("momentum", "adam"))
        check_choice("ties", self.ties, ("shuffle", "expected"))
        check_choice("core_shape", self.core_shape, ("ellipsoid", "cylinder"))
        check_count("num_iterations", self.num_iterations)
        for name in ("learning_rate", "area_weight", "area_growth", "clock"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be positive, got {getattr(self, name)!r}."
                )
        if not all(0 < level < 1 for level in self.warm_levels):
            raise ValueError(
                f"`warm_levels` must lie inside (0, 1), got {self.warm_levels}."
            )


def _as_tuple(name, value):
    try:
        return tuple(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be a tuple of numbers, got {value!r}."
        ) from None


def _check_hashable(name, value):
    """A config is static under `jit`: it has to be a key of the compile cache."""
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be a plain number, a string or a tuple of numbers, got "
            f"{value!r}."
        ) from None


PAPER = ExtremalConfig()
PRESETS = {
    ("paper", "volume"): PAPER,
    # The per-frame method of the WACV paper: other weights, constant.
    ("paper", "per_frame"): dataclasses.replace(
        PAPER, reward_weight=100.0, area_growth=1.0
    ),
    # Tuned on 12 evidence clips (benchmarks/step_quality.py).
    ("fast", "volume"): ExtremalConfig(
        num_iterations=40,
        optimiser="adam",
        learning_rate=0.08,
        final_learning_rate=0.008,
        reward_weight=5.0,
        area_weight=100.0,
        final_area_weight=848.0,
        core_start=0,
        warm_levels=(0.15, 0.3, 0.5, 0.7, 0.9),
        ties="expected",
    ),
}
PRESETS["fast", "per_frame"] = dataclasses.replace(
    PRESETS["fast", "volume"], reward_weight=100.0, final_area_weight=300.0
)


class Schedule(NamedTuple):
    """What changes from iteration to iteration, [num_iterations] each."""

    learning_rate: np.ndarray
    area_weight: np.ndarray
    core_weight: np.ndarray


def make_schedule(config: ExtremalConfig) -> Schedule:
    """Tabulates a config's schedules, on the host and in float64."""
    num = config.num_iterations
    published = config.clock * np.arange(num)
    done = np.arange(num) / max(num - 1, 1)
    first, last = config.learning_rate, config.final_learning_rate
    last = first if last is None else last
    if config.final_area_weight is None:
        area = config.area_weight * config.area_growth**published
    else:
        ratio = config.final_area_weight / config.area_weight
        area = config.area_weight * ratio**done
    return Schedule(
        learning_rate=last + (first - last) * 0.5 * (1 + np.cos(math.pi * done)),
        area_weight=area,
        core_weight=np.where(published >= config.core_start, config.core_weight, 0.0),
    )


def resolve(preset: str | ExtremalConfig, mode: str, **changes) -> ExtremalConfig:
    """The config that a preset's name means in a mode, with changes that are not None.

    Raises:
      ValueError: an unknown preset or mode, or a change out of range.
    """
    check_choice("mode", mode, ("volume", "per_frame"))
    if not isinstance(preset, ExtremalConfig):
        check_choice("preset", preset, sorted({name for name, _ in PRESETS}))
        preset = PRESETS[preset, mode]
    changes = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(preset, **changes)
