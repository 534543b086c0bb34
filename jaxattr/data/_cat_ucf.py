"""Clips joined in time: a part that shows the class, and a part that does not.

Where a network looks in time is known for them without any annotation.
"""

from typing import NamedTuple

import numpy as np

from jaxattr.data._sample import Sample, Samples
from jaxattr.data._video_samples import VideoSamples


class Pair(NamedTuple):
    """What a target is joined to.

    Attributes:
      distractor: index of the other clip among the distractors.
      first: whether the target's part comes first.
      num_frames: of the clip, those that are the target's.
    """

    distractor: int
    first: bool
    num_frames: int


class CatSamples:
    """Joined clips, made when they are asked for; see `Samples`.

    Attributes:
      names: of the clips, "cat/" and the target's.
    """

    def __init__(self, samples: Samples, distractors: Samples, seed: int):
        self.names = tuple(f"cat/{name}" for name in samples.names)
        self._targets, self._others = _parts(samples), _parts(distractors)
        self._other_names = distractors.names
        self._seed = seed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Decodes both parts and joins them.

        Raises:
          IndexError: there is none.
          ValueError: a part cannot be decoded, parts of two shapes, or no distractor is
            of another class.
          OSError: a file is missing.
        """
        place = range(len(self))[index]
        pair = self.pair(place)
        total = self._targets.num_frames(place)
        part = self._targets.take(place, pair.num_frames)
        other = self._others.take(pair.distractor, total - pair.num_frames)
        if part.clip.shape[1:] != other.clip.shape[1:]:
            raise ValueError(
                f"`samples` and `distractors` must be of one size, got frames of "
                f"{part.clip.shape[1:]} and {other.clip.shape[1:]}."
            )
        mask = part.mask
        if mask is None:
            mask = np.ones(part.clip.shape[:3], bool)
        boxes = part.boxes
        if boxes is not None:
            boxes = _join(
                boxes, np.full((len(other.clip), 4), np.nan, np.float32), pair
            )
        return Sample(
            self.names[place],
            _join(part.clip, other.clip, pair),
            part.target,
            boxes=boxes,
            mask=_join(mask, np.zeros(other.clip.shape[:3], bool), pair),
            group="cat_ucf",
        )

    def pair(self, index: int) -> Pair:
        """What a clip is joined to; it depends on the seed and the index alone."""
        place = range(len(self))[index]
        rng = np.random.default_rng([self._seed, place])
        first = bool(rng.integers(2))
        target = self._targets.target(place)
        length = self._targets.length(place)
        spare = None
        for other in rng.permutation(len(self._other_names)).tolist():
            try:
                if self._others.target(other) == target:
                    continue
                own = self._others.length(other)
            except (ValueError, OSError):  # It cannot be read; another can.
                continue
            spare = (other, own) if spare is None else spare
            if own <= length:
                break
        else:
            if spare is None:
                raise ValueError(
                    f"clip {self.names[place]!r}: no distractor that can be read is of "
                    f"another class than {target}."
                )
            other, own = spare
        total = self._targets.num_frames(place)
        share = total * length // (length + own)
        return Pair(other, first, min(max(share, 1), total - 1))


def cat_ucf(
    samples: Samples, distractors: Samples | None = None, *, seed: int = 0
) -> CatSamples:
    """Joins each clip in time to one of another class: cat-UCF, of any data set.

    With L frames in a target's source and L' in a distractor's, of the T frames of the
    clip floor(T L / (L + L')) are the target's, and each part is taken evenly from the
    whole of its source, so both run at about one speed. Partner and side are drawn at
    random; the partner is one that can be read, and no longer than the target unless
    all are.

    Args:
      samples: the targets, such as `ucf101_24(folder, net.spec)`. Clips of a data set
        of ours are decoded anew for their part; of any other data set frames of the
        decoded clip are taken, its T being L.
      distractors: another data set, of the same classes; None for the targets' own.
      seed: of the partners and sides.

    Returns:
      Samples with random access. `mask` is True in the frames of the target's part, on
      its evidence where the target has a mask: `mask.any((1, 2))` is the window that
      `jaxattr.metrics.temporal_pointing` takes. `boxes` are the target's. `pair(i)`
      says what clip i is joined to.

    References:
      Li et al., "Spatio-Temporal Perturbations for Video Attribution", TCSVT 2021,
      https://arxiv.org/abs/2109.00222. Deviation: their partners and sides were drawn
      by another generator, and are not published.
    """
    return CatSamples(samples, samples if distractors is None else distractors, seed)


class _Decoded:
    """Parts of clips of any data set, taken from the frames that are decoded anyway."""

    def __init__(self, samples: Samples):
        self._samples = samples

    def target(self, index: int) -> int:
        return self._samples[index].target

    def length(self, index: int) -> int:
        return len(self._samples[index].clip)

    num_frames = length

    def take(self, index: int, num_frames: int) -> Sample:
        sample = self._samples[index]
        n = len(sample.clip)
        chosen = np.arange(0, n, n // num_frames)[-num_frames:]
        return sample._replace(
            clip=sample.clip[chosen],
            boxes=None if sample.boxes is None else sample.boxes[chosen],
            mask=None if sample.mask is None else sample.mask[chosen],
        )


class _Videos:
    """Parts of clips of our own data sets, decoded from the whole of their sources."""

    def __init__(self, samples: VideoSamples):
        self._samples = samples
        self.target = samples.target
        self.length = samples.length

    def num_frames(self, index: int) -> int:
        return self._samples.spec.num_frames

    def take(self, index: int, num_frames: int) -> Sample:
        return self._samples.take(index, num_frames, sampling="long_range_last")


def _parts(samples):
    kind = _Videos if isinstance(samples, VideoSamples) else _Decoded
    return kind(samples)


def _join(part, other, pair):
    return np.concatenate((part, other) if pair.first else (other, part))
