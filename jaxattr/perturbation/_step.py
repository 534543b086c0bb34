"""STEP: spatio-temporal extremal perturbations, solid in space and time."""

from collections.abc import Callable, Sequence

from jaxattr._score import Network, Score
from jaxattr.perturbation._extremal import ExtremalMasks, extremal
from jaxattr.perturbation._presets import ExtremalConfig


def step(
    f: Network,
    *,
    areas: Sequence[float],
    preset: str | ExtremalConfig = "fast",
    variant: str = "preserve",
    perturbation: str = "blur",
    num_iterations: int | None = None,
    ties: str | None = None,
    score: Score = "log_prob",
    chunk: int | None = None,
) -> Callable[..., ExtremalMasks]:
    r"""Finds masks that keep the target and are solid in space and time (STEP).

    `extremal_perturbation` over the whole clip plus :math:`\mu_t R_{core}(m)`, which
    asks that the averages of the mask over a small 3-D kernel be 1 at as many places as
    the area has room for and 0 elsewhere.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      areas: shares of the volume to keep, each in (0, 1). Masks of very different
        sizes add up badly in `values`: the largest drowns the others.
      preset: "fast", "paper" or an `ExtremalConfig`, as in `extremal_perturbation`; so
        are all further settings.
      variant: "preserve", "delete" or "dual".
      perturbation: what hidden voxels become, as in `extremal_perturbation`.
      num_iterations: instead of the preset's.
      ties: "shuffle" (needs a key), "expected", or None for the preset's.
      score: what to keep; see `jaxattr.Score`.
      chunk: areas optimised side by side; None takes all. Changes memory and rounding.

    Returns:
      `explain(clip, target, *, key=None) -> ExtremalMasks`.

    Raises:
      ValueError: as `extremal_perturbation`.

    References:
      Li, Wang, Li, Huang and Sato, "Spatio-Temporal Perturbations for Video
      Attribution", IEEE TCSVT 2021, https://arxiv.org/abs/2109.00222. Deviations as in
      `extremal_perturbation`; where an area has room for more places than there are,
      all are asked to be 1 instead of a mean over none.
      From code.
    """
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
        core=True,
    )
