"""Settings of meaningful perturbations, as published and as widely re-implemented."""

import dataclasses

from jaxattr._expectation import check_count
from jaxattr.perturbation._presets import check_choice, check_weights


@dataclasses.dataclass(frozen=True)
class MeaningfulConfig:
    """Everything about a meaningful perturbation that its authors tuned.

    Sizes in pixels are those at a shorter side of 224 and scale with it.

    Attributes:
      num_iterations: gradients per clip.
      learning_rate: of Adam.
      sparsity: weight of the mask's size.
      smoothness: weight of its total variation.
      exponent: of the total variation.
      norm: "sum" adds up over the cells of a frame (and averages over frames, so that
        a clip is weighed as an image is), "mean" averages over cells.
      cell: width of a cell.
      cell_frames: frames that share one.
      upsampling: "nearest" or "linear".
      mask_blur: standard deviation by which the enlarged mask is blurred.
      blur: standard deviation of the strongest blur, for the perturbation "blur".
      jitter: the clip is enlarged by so much and shifted by less than it, at random in
        every iteration; 0 needs no key.
      start: "disc", the smallest disc in the middle of every frame whose loss takes 99
        % of what the largest takes; "none", a mask that hides nothing.
    """

    num_iterations: int = 300
    learning_rate: float = 0.1
    sparsity: float = 1e-4
    smoothness: float = 1e-2
    exponent: float = 3.0
    norm: str = "sum"
    cell: float = 8.0
    cell_frames: int = 1
    upsampling: str = "nearest"
    mask_blur: float = 5.0
    blur: float = 10.0
    jitter: float = 4.0
    start: str = "disc"

    def __post_init__(self):
        check_count("num_iterations", self.num_iterations)
        check_count("cell_frames", self.cell_frames)
        check_choice("norm", self.norm, ("sum", "mean"))
        check_choice("upsampling", self.upsampling, ("nearest", "linear"))
        check_choice("start", self.start, ("disc", "none"))
        names = ("learning_rate", "sparsity", "smoothness", "cell", "mask_blur")
        names += ("blur", "jitter")
        check_weights(**{name: getattr(self, name) for name in names})
        if not self.exponent >= 1:
            raise ValueError(f"`exponent` must be at least 1, got {self.exponent!r}.")


PRESETS = {
    "fv2017": MeaningfulConfig(),
    "mean_tv": MeaningfulConfig(
        norm="mean",
        upsampling="linear",
        mask_blur=0.0,
        blur=5.0,
        jitter=0.0,
        start="none",
    ),
}


def resolve(
    preset: str | MeaningfulConfig, num_iterations: int | None
) -> MeaningfulConfig:
    """The config that a preset's name means, with other iterations if not None.

    Raises:
      ValueError: an unknown preset, or iterations out of range.
    """
    if not isinstance(preset, MeaningfulConfig):
        check_choice("preset", preset, tuple(PRESETS))
        preset = PRESETS[preset]
    if num_iterations is None:
        return preset
    return dataclasses.replace(preset, num_iterations=num_iterations)
