"""Extremal perturbations: the small part of a clip that suffices for the target.

For every area a mask of about that size is optimised so that the clip, blurred where
the mask is 0, keeps the target. `step` adds that masks be solid in space and time.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from jaxattr._score import Network, Score
from jaxattr._tap import chosen
from jaxattr.perturbation._channel_extremal_perturbation import (
    ChannelMasks,
    channel_extremal_perturbation,
)
from jaxattr.perturbation._extremal import ExtremalMasks, extremal
from jaxattr.perturbation._presets import ExtremalConfig, check_choice

Over = Literal["voxel", "channel"]


def extremal_perturbation(
    f: Network,
    *,
    areas: Sequence[float],
    over: Over = "voxel",
    at: str | None = None,
    mode: str = "volume",
    preset: str | ExtremalConfig = "fast",
    variant: str = "preserve",
    perturbation: str = "blur",
    num_iterations: int | None = None,
    ties: str | None = None,
    score: Score = "log_prob",
    chunk: int | None = None,
) -> Callable[..., ExtremalMasks | ChannelMasks]:
    r"""Finds, for each area, the mask of that size that best keeps the target.

    For every area :math:`a`, minimises :math:`\rho - \log p(x \otimes m) + \lambda_t
    R_a(m)` over a grid of cells per frame, from which the mask :math:`m` is made (see
    `jaxattr.perturbation.generate_mask`). :math:`R_a` is the mean squared distance of
    the sorted mask to a step of area :math:`a`. Areas do not influence each other.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      areas: shares of the volume to keep, each in (0, 1).
      over: "voxel", masks of the clip; "channel", masks of a layer's channels: what
        comes back is `channel_extremal_perturbation(f, at, ...)`, which says more, and
        takes neither `mode` nor `perturbation`.
      at: name of that layer, as `jaxattr.list_taps` shows it; None takes `f.spec.tap`.
      mode: "volume" fills the area over the whole clip (3-D extremal perturbation);
        "per_frame" in every frame (2-D).
      preset: "fast", 40 iterations after a start from 5 gradients; "paper", the
        published optimiser and 1200 iterations; or an `ExtremalConfig`.
      variant: "preserve" keeps the target with the mask, "delete" loses it without,
        "dual" both. The mask is 1 where the evidence is in all of them.
      perturbation: what hidden voxels become: "blur", ever more of it; "mean" or
        "fade", 0 in network units; "clip_mean" of their channel; "median" over time of
        their pixel; "noise" of their channel's mean and spread; "freeze", what was
        shown before.
      num_iterations: instead of the preset's.
      ties: which of equal mask values count as the largest: "shuffle", a random choice
        per iteration, as published (needs a key); "expected", its expectation. None
        leaves it to the preset: "shuffle" for "paper", else "expected".
      score: what to keep; see `jaxattr.Score`. Other than "log_prob", the score itself
        is maximised, or minimised where it should be lost: "dual" of "prob" is p(kept)
        - p(deleted), the hybrid game of the image paper, and "margin" in any variant is
        its contrastive reward, the logit less that of the best other class.
      chunk: areas optimised side by side; None takes all. Changes memory and rounding.

    Returns:
      `explain(clip, target, *, key=None) -> ExtremalMasks`, or `ChannelMasks` over
      channels.

    Raises:
      ValueError: areas empty or outside (0, 1), an unknown choice, a setting that is
        not for voxels or channels; from `explain`, a missing key, a clip that is not
        one array [T, H, W, C].

    References:
      Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations
      and Smooth Masks", ICCV 2019, https://arxiv.org/abs/1910.08485. Li, Wang, Li,
      Huang and Sato, "Towards Visually Explaining Video Understanding Networks with
      Perturbation", WACV 2021, https://arxiv.org/abs/2005.00375.
      Deviations: -log p from the logits instead of a probability that can underflow; at
      a mask of exactly 1 the slope of the last interval of the pyramid instead of 0;
      "dual" for any number of areas; shuffled ties in "per_frame" too, where the paper
      leaves the order to the sort.
      From code; over channels our reading.
    """
    check_choice("over", over, get_args(Over))
    common = {
        "areas": areas,
        "preset": preset,
        "variant": variant,
        "num_iterations": num_iterations,
        "ties": ties,
        "score": score,
        "chunk": chunk,
    }
    if over == "channel":
        if (mode, perturbation) != ("volume", "blur"):
            raise ValueError(
                "`mode` and `perturbation` are of masks of the clip: leave them out "
                f"with over='channel', got {mode!r} and {perturbation!r}."
            )
        return channel_extremal_perturbation(f, chosen(f, at, "at"), **common)
    if at is not None:
        raise ValueError(
            f"`at` names a layer for over='channel', and a mask over voxels is of the "
            f"clip: leave it out, got {at!r}."
        )
    return extremal(f, mode=mode, perturbation=perturbation, core=False, **common)
