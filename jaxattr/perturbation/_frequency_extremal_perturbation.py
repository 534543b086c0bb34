"""Extremal perturbations whose masks change slowly in space and time.

The gradient of the mask loses its high frequencies before every step, so that what
one frame gains its neighbours gain too. No term of the objective asks for it.
"""

import math
from collections.abc import Callable, Sequence

from jaxattr._score import Network, Score
from jaxattr.perturbation._extremal import ExtremalMasks, extremal
from jaxattr.perturbation._presets import ExtremalConfig


def frequency_extremal_perturbation(
    f: Network,
    *,
    areas: Sequence[float],
    cutoffs: tuple[float, float] = (0.25, 0.5),
    preset: str | ExtremalConfig = "fast",
    variant: str = "preserve",
    perturbation: str = "blur",
    num_iterations: int | None = None,
    ties: str | None = None,
    score: Score = "log_prob",
    chunk: int | None = None,
) -> Callable[..., ExtremalMasks]:
    r"""Finds, for each area, a mask of that size that moves slowly.

    As `extremal_perturbation` over the volume, but in every step the cosine transform
    of the gradient of the mask's cells is multiplied by :math:`\exp(-\frac 1 2 \sum_a
    (k_a / (N_a \rho_a))^2)`, with :math:`N_a` cells along axis :math:`a`. As the
    cut-offs :math:`\rho` grow it becomes `extremal_perturbation`.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      areas: shares of the volume to keep, each in (0, 1).
      cutoffs: :math:`\rho` in time and in space, positive, as shares of the fastest
        change there is: of 16 frames, 0.25 halves what turns about five times.
        Infinity leaves time or space alone.
      preset: as in `extremal_perturbation`, and so are the others.
      variant: "preserve", "delete" or "dual".
      perturbation: what hidden voxels become.
      num_iterations: instead of the preset's.
      ties: "shuffle", "expected" or the preset's.
      score: what to keep; see `jaxattr.Score`.
      chunk: areas optimised side by side; None takes all. Changes memory and rounding.

    Returns:
      `explain(clip, target, *, key=None) -> ExtremalMasks`.

    Raises:
      ValueError: cut-offs that are not two positive numbers, and as
        `extremal_perturbation`.

    References:
      Lin, Bao, Wright and Kong, "Gradient Frequency Modulation for Visually Explaining
      Video Understanding Models", BMVC 2021, https://arxiv.org/abs/2111.01215. Our
      reading of its abstract: filter, cut-offs and base optimiser are ours.
    """
    in_time, in_space = _check_cutoffs(cutoffs)
    return extremal(
        f,
        areas,
        mode="volume",
        preset=preset,
        variant=variant,
        perturbation=perturbation,
        num_iterations=num_iterations,
        ties=ties,
        score=score,
        chunk=chunk,
        core=False,
        cutoffs=(in_time, in_space, in_space),
    )


def _check_cutoffs(cutoffs):
    try:
        in_time, in_space = map(float, cutoffs)
    except (TypeError, ValueError):
        in_time = in_space = math.nan
    if not (in_time > 0 and in_space > 0):
        raise ValueError(
            f"`cutoffs` must be two positive numbers (time, space), got {cutoffs!r}."
        )
    return in_time, in_space
