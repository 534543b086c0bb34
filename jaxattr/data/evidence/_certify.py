"""What moves the network: the scene rendered again without each thing and window.

A mask says where the evidence was drawn. Whether a network uses it is another question,
which rendering answers without leaving the distribution of clips: take a part out, and
look at what becomes of the score.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._score import NamedScore, Network, bind, check_score, num_classes
from jaxattr.data.evidence._families import find, labels
from jaxattr.data.evidence._render import render
from jaxattr.data.evidence._scene import HEIGHT, NUM_FRAMES
from jaxattr.data.evidence._settings import check_settings
from jaxattr.data.evidence._switches import evidence_only, without
from jaxattr.program import Join, split


class Certificate(NamedTuple):
    """What decides a network's answer to one clip. A fall is a score less another.

    Attributes:
      target: [] int32, class of the clip, index into `LABELS`.
      score: [] of the target, for the whole clip.
      parts: [P] fall of the score without each part, in the order of the family's
        `parts`; positive where the part speaks for the target.
      windows: [W] fall without the evidence in each of W spans of frames.
      alone: [] fall when there is nothing but the evidence; small or negative where
        the rest does not matter.
      absent: [] fall without the evidence.
      right: [] bool, whether the network answers with the target.
      keeps: [] bool, whether it does from the evidence alone.
      flips: [] bool, whether it no longer does without the evidence.
      certified: [] bool, all three: the evidence, and nothing else, decides.
    """

    target: jax.Array
    score: jax.Array
    parts: jax.Array
    windows: jax.Array
    alone: jax.Array
    absent: jax.Array
    right: jax.Array
    keeps: jax.Array
    flips: jax.Array
    certified: jax.Array


class CertifiedSamples(NamedTuple):
    """Which samples of a data set are certified for a network.

    Attributes:
      indices: [n] int64 NumPy, of the certified samples, ascending.
      rejected: fraction of the samples looked at that are not certified, 0 to 1.
      certificates: of every sample looked at, with a leading axis.
    """

    indices: np.ndarray
    rejected: float
    certificates: Certificate


def certify(
    f: Network,
    family: str = "motion",
    *,
    score: NamedScore = "logit",
    num_windows: int = 4,
    camera: float = 0.0,
    size: int = HEIGHT,
) -> Callable[[jax.Array], Certificate]:
    """Measures what of a clip moves a network, by rendering it anew without it.

    Args:
      f: network, one clip [T, H, W, 3] -> logits [K].
      family: name of the family.
      score: "logit", "prob", "log_prob", "margin" or "sigmoid".
      num_windows: W, equal spans of frames from each of which the evidence is taken.
      camera: see `render`.
      size: see `render`.

    Returns:
      `judge(key) -> Certificate` of the clip `render(key, family)`; it takes 3 + P + W
      evaluations of `f` and composes with `jit` and `vmap`. For the samples of a data
      set see `certified_samples`.

    Raises:
      ValueError: if a setting is unknown or out of range; from `judge`, if the network
        has no logit for the family's classes.
      TypeError: if `f` is not callable.
    """
    if not callable(f):
        raise TypeError(
            f"`f` must be callable, clip -> logits, got {type(f).__name__}."
        )
    check_score(score)
    if callable(score):
        raise ValueError("`score` must be the name of a score, got a callable.")
    check_settings(family, None, None, True, True, camera, 0.0, size)
    if num_windows not in range(1, NUM_FRAMES + 1):
        raise ValueError(
            f"`num_windows` must be from 1 to {NUM_FRAMES}, got {num_windows}."
        )
    leaves, join = split(f)
    values = [jnp.asarray(leaf) for leaf in leaves]
    judge = _Judge(join, family, score, num_windows, camera, size)
    return jax.tree_util.Partial(judge, values)


def certified_samples(
    judge: Callable[[jax.Array], Certificate],
    key: jax.Array,
    num: int,
    *,
    start: int = 0,
) -> CertifiedSamples:
    """Judges samples `start` to `start + num` of the data set that belongs to a key.

    Args:
      judge: from `certify`.
      key: typed key of the data set, as from `split_key`.
      num: how many samples to look at. A static number: a new one compiles anew.
      start: index of the first one.

    Returns:
      The indices of those that are certified, the rejection rate, all certificates.

    Raises:
      ValueError: if `num` is not positive.
    """
    if num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    indices = start + np.arange(num)
    certificates = _judge_all(judge, key, jnp.asarray(indices, jnp.int32))
    certified = np.asarray(certificates.certified)
    return CertifiedSamples(
        indices[certified], float(1 - certified.mean()), certificates
    )


@dataclasses.dataclass(frozen=True)
class _Judge:
    """The static half of `judge`: hashable, hence a key of the compile cache."""

    join: Join  # values -> f
    family: str
    score: str
    num_windows: int
    camera: float
    size: int

    def __call__(self, values, key: jax.Array) -> Certificate:
        return _judge(self, values, key)


@functools.partial(jax.jit, static_argnums=0)
def _judge(judge: _Judge, values, key: jax.Array) -> Certificate:
    f, family = judge.join(values), find(judge.family)
    evidence = family.evidence
    edges = np.linspace(0, NUM_FRAMES, judge.num_windows + 1).astype(int)
    shows = [
        without(judge.family),
        evidence_only(judge.family),
        without(judge.family, *evidence),
        *(without(judge.family, part) for part in family.parts),
        *(
            without(judge.family, *evidence, frames=(int(start), int(stop)))
            for start, stop in itertools.pairwise(edges)
        ),
    ]

    def answer(show):
        shown = render(
            key, judge.family, show=show, camera=judge.camera, size=judge.size
        )
        return f(shown.clip), shown.target

    logits, targets = jax.lax.map(answer, jnp.stack(shows))
    _check_logits(jax.eval_shape(lambda z: z[0], logits), judge)
    target = targets[0]
    score = bind(lambda z: z, logits[0], target, judge.score)
    scores = jax.vmap(score)(logits)
    falls = scores[0] - scores
    says = logits.argmax(-1).astype(target.dtype) == target
    known = ~jnp.isnan(logits).any(-1)  # The largest of NaN is the first NaN.
    ends = 3 + len(family.parts)
    return Certificate(
        target=target,
        score=scores[0],
        parts=falls[3:ends],
        windows=falls[ends:],
        alone=falls[1],
        absent=falls[2],
        right=says[0] & known[0],
        keeps=says[1] & known[1],
        flips=~says[2] & known[2],
        certified=says[0] & says[1] & ~says[2] & known[:3].all(),
    )


def _check_logits(logits: jax.ShapeDtypeStruct, judge: _Judge) -> None:
    count, last = num_classes(logits, judge.score), labels(judge.family)[-1]
    if count <= last:
        raise ValueError(
            f"`f` has {count} classes, but the family {judge.family!r} needs the "
            f"labels up to index {last}."
        )


@jax.jit
def _judge_all(judge, key: jax.Array, indices: jax.Array) -> Certificate:
    return jax.lax.map(lambda index: judge(jax.random.fold_in(key, index)), indices)
