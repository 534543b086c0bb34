"""Clips whose cause is certified, and the maps that a metric is audited on."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxattr
from jaxattr import metrics
from jaxattr.data import evidence

MAPS = (
    "random",  # Column 0, where `metrics.reliability` looks for it.
    "evidence",
    "interventional",
    "method",
    "method, blurred",
    "random, blurred",
    "edges",
    "motion",
    "centre",
)
CONTROLS = ("random, blurred", "edges", "motion", "centre")

JITTER = 1e-5  # Of a map's range: orders equal values at random.
_LOOK = 8  # Samples judged at once.
_PATIENCE = 20  # Times the clips asked for.
_LEAST = 0.05  # Of the fall without all evidence, for a window to count.


class Case(NamedTuple):
    """One clip, and what is known of it.

    Attributes:
      clip: [T, H, W, C].
      target: [] int32.
      mask: [T, H, W] bool, where the evidence was drawn.
      window: [T] bool, when.
      boxes: [T, 4] around it.
    """

    clip: jax.Array
    target: jax.Array
    mask: jax.Array
    window: jax.Array
    boxes: jax.Array


class Certified(NamedTuple):
    """Clips of one family of which the evidence alone decides.

    Attributes:
      cases: N of them.
      truth: N of [T, H, W], interventional.
      indices: [N] of the samples in their split.
      looked_at: how many samples were judged to find them.
      rejected: share of those that are not certified.
    """

    cases: list[Case]
    truth: list[np.ndarray]
    indices: np.ndarray
    looked_at: int
    rejected: float


def interventional_truth(
    family: str, parts: np.ndarray, certificate: evidence.Certificate
) -> np.ndarray:
    r"""What the network uses: every part's voxels, weighted by what it loses without.

    .. math:: h(t, y, x) = \sum_p \max(e_p, 0) \, r_p(t) \, m_p(t, y, x)

    :math:`m_p` are the visible voxels of part p; no two parts share one. :math:`e_p` is
    the fall of the score when the clip is rendered without p: :math:`d_p`, but for two
    parts of evidence the mean of the falls beside and without the other,
    :math:`(d_p + d_{pq} - d_q) / 2` with :math:`d_{pq}` the fall without both (their
    Shapley values), because of two things either of which is enough none is missed.
    :math:`r_p(t)` is 1, but for evidence the fall without it in the window of frames
    that holds t, over the largest of these falls, negative ones being 0; it is 1
    throughout where no window alone costs 5 % of :math:`d_{pq}`.

    Args:
      family: name of the family.
      parts: [P, T, H, W] bool, where each part is visible.
      certificate: of the clip.

    Returns:
      [T, H, W] float32, not negative.
    """
    found = evidence.FAMILIES[family]
    falls = np.array(certificate.parts, np.float64)
    absent = float(certificate.absent)
    chosen = np.flatnonzero(found.is_evidence)
    if len(chosen) == 2:
        falls[chosen] = (falls[chosen] + absent - falls[chosen[::-1]]) / 2
    windows = np.maximum(np.asarray(certificate.windows, np.float64), 0)
    top = windows.max()
    share = windows / top if top > _LEAST * absent else np.ones_like(windows)
    edges = np.linspace(0, parts.shape[1], len(share) + 1).astype(int)
    weights = np.maximum(falls, 0)[:, None] * np.ones(parts.shape[1])
    weights[chosen] *= np.repeat(share, np.diff(edges))
    return np.einsum("pt,ptyx->tyx", weights, parts).astype(np.float32)


def certified(
    f: Callable[..., Any], family: str, split: str, num: int, *, score: str
) -> Certified:
    """The first `num` certified clips of a split.

    Raises:
      SystemExit: where the network has too few.
    """
    key = evidence.split_key(split)
    judge = evidence.certify(f, family, score=score)
    indices, certificates, looked_at = [], [], 0
    while len(indices) < num and looked_at < _PATIENCE * num:
        found = evidence.certified_samples(judge, key, _LOOK, start=looked_at)
        looked_at += _LOOK
        indices.extend(found.indices)
        rows = np.flatnonzero(np.asarray(found.certificates.certified))
        certificates.extend(
            jax.tree.map(lambda a, row=row: np.asarray(a)[row], found.certificates)
            for row in rows
        )
    if len(indices) < num:
        raise SystemExit(
            f"{len(indices)} of {looked_at} clips of {family!r} are certified: the "
            "network does not know this family."
        )
    rejected = 1 - len(indices) / looked_at
    chosen = np.array(indices[:num])
    clips = [evidence.render(jax.random.fold_in(key, i), family) for i in chosen]
    truth = [
        interventional_truth(family, np.asarray(one.parts), certificate)
        for one, certificate in zip(clips, certificates)
    ]
    cases = [
        Case(
            one.clip, one.target, one.mask, one.window, metrics.mask_to_boxes(one.mask)
        )
        for one in clips
    ]
    return Certified(cases, truth, chosen, looked_at, rejected)


def control_maps(f: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The controls as methods, by kind."""
    kinds = ("random", "edges", "motion", "centre")
    return {kind: jaxattr.control(f, kind=kind) for kind in kinds}


@functools.partial(jax.jit, static_argnames=("heatmap", "blur"))
def draw(
    explain: Callable[..., Any],
    controls: Mapping[str, Callable[..., Any]],
    case: Case,
    truth: jax.Array,
    key: jax.Array,
    inputs: Mapping[str, jax.Array],
    *,
    heatmap: Callable[[tuple[int, ...]], Mapping[str, Any]],
    blur: float,
) -> jax.Array:
    """Every map of one clip, 0 to 1, in the order of `MAPS`.

    Equal values, which the truths have many of, are told apart by a little noise, the
    same for all maps: metrics would take them in order of frame and row, and measure
    that. For the same reason the method's map is not cut at a quantile.

    Args:
      explain: the method.
      controls: from `control_maps`.
      case: the clip.
      truth: [T, H, W] its interventional truth.
      key: of what is random.
      inputs: what the method takes by name beside these.
      heatmap: shape of the method's values -> settings of `to_heatmap`.
      blur: standard deviation in pixels of the blurred maps.

    Returns:
      [M, T, H, W].
    """
    k_method, k_control, k_jitter = jax.random.split(key, 3)
    values = explain(case.clip, case.target, key=k_method, **inputs).values
    settings = {**heatmap(values.shape), "quantile": 1.0}
    maps = {
        name: control(case.clip, case.target, key=k_control).values
        for name, control in controls.items()
    }
    maps |= {
        "evidence": case.mask.astype(values.dtype),
        "interventional": truth.astype(values.dtype),
        "method": jaxattr.to_heatmap(values, **settings),
    }
    for name in ("method", "random"):
        maps[f"{name}, blurred"] = jaxattr.to_heatmap(maps[name], blur=blur)
    jitter = JITTER * jax.random.uniform(k_jitter, values.shape[:3], values.dtype)
    return jnp.stack([jaxattr.to_heatmap(maps[name]) + jitter for name in MAPS])
