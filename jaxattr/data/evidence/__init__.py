"""Clips whose cause is known: seven families, in each of which another thing decides.

Each clip shows a drifting texture on which things lie. Some of them, the evidence,
decide the class; the rest say nothing about it. What is shown can be switched, so that
the effect of everything on a network can be measured: that is the ground truth, and
`certify` tells for which clips the evidence alone holds the decision. Everything is a
pure function of a key: an endless data set, without files, that runs under `jit` and
`vmap`. All families share one list of labels, `LABELS`, so that one network can learn
them all; the last one, `NONE`, is the class of a clip without its evidence.

Sample i of a split is `render(jax.random.fold_in(split_key(split), i), family)`,
whatever the size of the batch it is made in. Tune on "dev"; report on "test". On the
families that are `test_only`, tune nothing.
"""

from jaxattr.data.evidence._certify import (
    Certificate,
    CertifiedSamples,
    certified_samples,
    certify,
)
from jaxattr.data.evidence._families import CLASSES, FAMILIES, LABELS, NONE, labels
from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._motion import WINDOW
from jaxattr.data.evidence._plant import Planted, plant
from jaxattr.data.evidence._render import EvidenceClip, batch, render, split_key
from jaxattr.data.evidence._samples import EvidenceSamples, samples
from jaxattr.data.evidence._scene import HEIGHT, MEAN, NUM_FRAMES, STD, WIDTH
from jaxattr.data.evidence._switches import evidence_only, without

__all__ = [
    "CLASSES",
    "FAMILIES",
    "HEIGHT",
    "LABELS",
    "MEAN",
    "NONE",
    "NUM_FRAMES",
    "STD",
    "WIDTH",
    "WINDOW",
    "Certificate",
    "CertifiedSamples",
    "EvidenceClip",
    "EvidenceSamples",
    "Family",
    "Planted",
    "batch",
    "certified_samples",
    "certify",
    "evidence_only",
    "labels",
    "plant",
    "render",
    "samples",
    "split_key",
    "without",
]
