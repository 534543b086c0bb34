"""Settings of the training of a masking model, as published where a paper has them."""

import dataclasses
from collections.abc import Iterable

from jaxattr.perturbation._alternatives import ALTERNATIVES
from jaxattr.perturbation._presets import check_choice, check_weights


@dataclasses.dataclass(frozen=True)
class MaskingConfig:
    """Everything about training a masking model that a paper tunes.

    Attributes:
      preserver_weight: factor of the cost of the clip that shows the mask.
      area_weight: factor of the area term.
      area_ramp: share of the decoder's steps in which that factor rises from 0. From
        the start, as published, it empties the mask before this has found anything if
        the logits are not large against it.
      area_exponent: below 1, a small mask pays for every voxel more than a large one.
      area_floor: added to the mask before the exponent, which has no slope at 0.
      smoothness_weight: factor of the smoothness term.
      border_weight: factor, within it, of the mask on the border of its frames.
      keep_margin: by how many logits the class should win where it should be seen.
      lose_margin: by how many it should lose where it should not.
      absent_lose_margin: the same under the selector of an absent class.
      selector_absent_share: how often the selector is asked for an absent class.
      absent_share: how often the decoder is.
      alternatives: what may stand in place of hidden voxels, drawn for every clip:
        "blur", "colour", and, which are not published, "still" (the mean over time,
        which hides motion alone), "mean" or "fade" (0 in network units), "clip_mean"
        (of every channel), "median" (over time), "noise" (of every channel's mean and
        spread) and "freeze" (what was shown before).
      blur: standard deviation of "blur", pixels of a frame 224 high.
      colour: largest absolute value of a channel of "colour", network units.
      colour_noise: standard deviation of the noise on it.
      clip_noise: standard deviation of the noise on the clip that is masked.
      selector_learning_rate: of Adam at the first step of the selector; along half a
        cosine it falls to 0. Short trainings need a larger one.
      learning_rate: likewise, of the decoder.
    """

    preserver_weight: float = 0.3
    area_weight: float = 8.0
    area_ramp: float = 0.5
    area_exponent: float = 0.3
    area_floor: float = 5e-4
    smoothness_weight: float = 0.005
    border_weight: float = 0.3
    keep_margin: float = 1.0
    lose_margin: float = 5.0
    absent_lose_margin: float = 1.0
    selector_absent_share: float = 0.5
    absent_share: float = 0.3
    alternatives: tuple[str, ...] = ("blur", "colour")
    blur: float = 11.0
    # Published for pixels in -1..1: network units span about twice that.
    colour: float = 0.66
    colour_noise: float = 0.22
    clip_noise: float = 0.06
    selector_learning_rate: float = 1e-3
    learning_rate: float = 1e-3

    def __post_init__(self):
        several = isinstance(self.alternatives, Iterable)
        if not several or isinstance(self.alternatives, str):
            raise ValueError(
                '`alternatives` must be a tuple of names such as ("blur",), got '
                f"{self.alternatives!r}."
            )
        object.__setattr__(self, "alternatives", tuple(self.alternatives))
        for field in dataclasses.fields(self):
            if field.name != "alternatives":
                check_weights(**{field.name: getattr(self, field.name)})
        if not self.alternatives:
            raise ValueError("`alternatives` must name at least one, got ().")
        for name in self.alternatives:
            check_choice("alternatives", name, ALTERNATIVES)
        for name in ("area_ramp", "selector_absent_share", "absent_share"):
            if getattr(self, name) > 1:
                raise ValueError(
                    f"`{name}` must be in 0..1, got {getattr(self, name)!r}."
                )
        for name in ("area_exponent", "area_floor"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be positive, got {getattr(self, name)!r}."
                )
