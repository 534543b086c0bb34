"""Evidence clips as a data set: those of the split, under names of their own."""

import pickle

import jax
import numpy as np
import pytest
from numbered_video import Spec

from jaxattr.data import evidence, from_records


def test_samples_are_those_of_the_split():
    key = evidence.split_key("dev", seed=2)
    samples = evidence.samples("order", split="dev", indices=[3, 4], seed=2)
    assert samples.names == ("order-dev-2-000003", "order-dev-2-000004")
    for i, sample in enumerate(pickle.loads(pickle.dumps(samples))):
        expected = evidence.render(jax.random.fold_in(key, 3 + i), "order")
        np.testing.assert_array_equal(sample.clip, expected.clip)
        np.testing.assert_array_equal(sample.mask, expected.mask)
        assert sample.target == int(expected.target)
        assert type(sample.target) is int
        assert type(sample.clip) is type(sample.mask) is np.ndarray
        assert (sample.clip.dtype, sample.mask.dtype) == (np.float32, bool)
        assert (sample.name, sample.group) == (samples.names[i], "order")
        assert sample.boxes is None
    assert len(samples) == 2
    with pytest.raises(IndexError):
        samples[2]


def test_evidence_as_records(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from jaxattr.data import builders

    config = builders.EvidenceConfig(name="few", family="order", num=2)
    builder = builders.Evidence(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    known = evidence.samples("order", split="dev", num=2)
    size, frames = (evidence.HEIGHT, evidence.WIDTH), evidence.NUM_FRAMES
    units = {"scale": 1 / 255, "mean": (evidence.MEAN,) * 3, "std": (evidence.STD,) * 3}
    spec = Spec(num_frames=frames, size=size, **units)
    records = from_records(builder.as_data_source("dev"), spec)
    assert records.names == known.names
    for i in (1, 0):
        expected = known[i]
        difference = np.abs(records[i].clip - expected.clip)
        assert difference.max() <= 0.5001 / 255 / evidence.STD
        np.testing.assert_array_equal(records[i].mask, expected.mask)
        assert records[i]._replace(clip=0, mask=0) == expected._replace(clip=0, mask=0)
    # A mask follows resize and crop: the pixel that lies nearest.
    spec = Spec(num_frames=frames, size=(30, 40), resize=(50, 90))
    mask = known[0].mask
    expected = np.zeros((frames, 30, 40), bool)
    for y in range(30):
        for x in range(40):
            source = (
                int((y + 10.5) * size[0] / 50),
                int((x + 25.5) * size[1] / 90),
            )
            expected[:, y, x] = mask[:, source[0], source[1]]
    records_mask = from_records(builder.as_data_source("dev"), spec)[0].mask
    np.testing.assert_array_equal(records_mask, expected)


def test_a_family_that_is_only_tested_on_has_no_records_to_tune_on(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from jaxattr.data import builders

    config = builders.EvidenceConfig(name="one", family="or", num=1)
    builder = builders.Evidence(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    assert list(builder.info.splits) == ["test"]


def test_names_are_unique_over_families_splits_and_seeds():
    names = [
        name
        for family in evidence.FAMILIES
        for split in ("train", "dev", "test")
        if not (split == "dev" and evidence.FAMILIES[family].test_only)
        for seed in (0, 1)
        for name in evidence.samples(family, split=split, num=3, seed=seed).names
    ]
    assert len(set(names)) == len(names) == (7 * 3 - 1) * 2 * 3


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"family": "motoin"}, "motion"),
        ({"split": "val"}, "`split`"),
        ({"family": "or", "split": "dev"}, "'or' is only ever tested on"),
        ({"num": 0}, "`num`"),
        ({"indices": [1, 1]}, "`indices`"),
        ({"indices": [-1]}, "`indices`"),
    ],
)
def test_errors(settings, match):
    with pytest.raises(ValueError, match=match):
        evidence.samples(**settings)


def test_indices_may_be_an_array():
    picked = evidence.samples(indices=np.array([7, 2]))
    assert picked.names == ("motion-test-0-000007", "motion-test-0-000002")
