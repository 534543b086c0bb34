"""Our data sets go into grain as they are, into its threads and worker processes."""

import numpy as np
import pytest
from numbered_video import Spec, number, write_video
from published import write_table

from jaxattr.data import Sample, cat_ucf, from_csv, windows

flags = pytest.importorskip("absl.flags")
grain = pytest.importorskip("grain")
pytest.importorskip("PIL.Image")


def write(tmp_path):
    rows = []
    for i in range(6):
        write_video(tmp_path / f"{i}.mp4", 10 + i)
        rows.append({"path": f"{i}.mp4", "target": i})
    write_table(tmp_path / "clips.csv", rows)
    return from_csv(tmp_path, Spec(num_frames=3), group="g")


def test_threads(tmp_path):
    samples = write(tmp_path)
    for source in (samples, cat_ucf(samples), windows(tmp_path / "5.mp4", Spec(), 1)):
        dataset = grain.MapDataset.source(source).shuffle(seed=3)
        seen = {sample.name: sample for sample in dataset.to_iter_dataset()}
        assert set(seen) == set(source.names)
        for sample in source:
            np.testing.assert_array_equal(seen[sample.name].clip, sample.clip)


@pytest.mark.slow  # Two processes start JAX.
def test_worker_processes(tmp_path):
    flags.FLAGS.mark_as_parsed()  # As absl.app.run does; grain's processes read them.
    samples = write(tmp_path)
    dataset = grain.MapDataset.source(samples).to_iter_dataset()
    options = grain.multiprocessing.MultiprocessingOptions(num_workers=2)
    seen = list(dataset.mp_prefetch(options))
    assert [sample.name for sample in seen] == list(samples.names)
    for i, sample in enumerate(seen):
        assert isinstance(sample, Sample)
        assert (sample.target, sample.group, sample.boxes) == (i, "g", None)
        first = (10 + i - 3) // 2
        assert [number(f) for f in sample.clip] == [first, first + 1, first + 2]
