"""The evidence benchmark as files: clips of known cause that need no JAX to read."""

import dataclasses

import numpy as np

from jaxattr.data.builders._record import RecordBuilder, encode, record, tfds
from jaxattr.data.evidence import FAMILIES, MEAN, STD, samples

_CITATION = """\
@software{jaxattr, title = {jaxattr: video attribution in JAX}, year = {2026}}"""


@dataclasses.dataclass(eq=False, kw_only=True)
class EvidenceConfig(tfds.core.BuilderConfig):
    """A family, and how many clips of it.

    Attributes:
      family: one of `jaxattr.data.evidence.FAMILIES`.
      num: clips of each split.
    """

    family: str = "motion"
    num: int = 200


class Evidence(RecordBuilder):
    """Samples 0 to `num` of the splits "dev" and "test" of a family.

    A family that is `test_only` has no "dev".

    `Evidence(config="order", data_dir="data").download_and_prepare()` renders them;
    there is nothing to bring. Frames are PNG, so a voxel differs from the rendered one
    by at most half a grey level, 0.008 in network units.
    """

    name = "jaxattr_evidence"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}  # noqa: RUF012 - as in the base class.
    BUILDER_CONFIGS = [  # noqa: RUF012
        EvidenceConfig(name=family, family=family, description=one.decides)
        for family, one in FAMILIES.items()
    ]

    def _info(self):
        return self._record_info(
            "Rendered clips with exact masks of what decides their class.", _CITATION
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        tested = FAMILIES[self.builder_config.family].test_only
        splits = ("test",) if tested else ("dev", "test")
        return {split: self._generate_examples(split) for split in splits}

    def _generate_examples(self, split):
        config = self.builder_config
        clips = samples(config.family, split=split, num=config.num)
        yield from self._noted(split, map(_record, clips))


def _record(sample):
    pixels = np.round((sample.clip * STD + MEAN) * 255).clip(0, 255).astype(np.uint8)
    return record(
        sample.name,
        sample.target,
        sample.group,
        [encode(frame, "PNG") for frame in pixels],
        masks=[encode(mask, "PNG") for mask in sample.mask],
    )
