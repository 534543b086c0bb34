"""Records written and read without TensorFlow hold what the data sets hold."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from numbered_video import Spec, number, write_video
from published import python2_pickle, write_frames

from jaxattr.data import evidence, from_records, ucf101_24

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("PIL.Image")

from jaxattr.data import builders  # noqa: E402 - needs the extra.

NAMES = [f"Biking/v_Biking_g0{i}_c01" for i in range(1, 5)]


def tube(start, boxes):
    boxes = np.array(boxes, np.uint8)
    return {"label": 1, "sf": start, "ef": start + len(boxes), "boxes": boxes}


def write_ucf101_24(root):
    tubes = [tube(1, [[250, 180, 60, 40]] * 3), tube(2, [[1, 2, 250, 200]] * 6)]
    full = {"numf": 9, "label": 1, "annotations": tubes}
    entries = {NAMES[0]: full, NAMES[1]: {**full, "annotations": []}, NAMES[3]: full}
    (root / "pyannot.pkl").write_bytes(python2_pickle(entries, 2))
    (root / "testlist01.txt").write_text("\n".join(NAMES[:3]))  # One is not annotated.
    for name in NAMES[:2]:
        write_frames(root / "UCF-101" / name, range(1, 10), "{:05d}.jpg", (240, 320))
    write_video(root / "UCF-101" / f"{NAMES[3]}.avi", 9, fps=25, codec="mpeg4")
    return root


def test_ucf101_24_as_records(tmp_path):
    root = write_ucf101_24(tmp_path)
    builder = builders.Ucf101Boxes(data_dir=tmp_path / "records")
    builder.download_and_prepare(download_config=builder.take_from(root))
    left_out = builder.info.metadata["left_out"]
    assert list(left_out["test"]) == NAMES[2:3]
    assert "missing" in left_out["test"][NAMES[2]]
    for spec in (
        Spec(num_frames=4, size=(112, 112), sampling="long_range_last"),
        Spec(num_frames=3, size=(30, 30), resize=(32, 44), fps=12.5),
    ):
        records = from_records(builder.as_data_source("test"), spec)
        files = ucf101_24(root, spec)
        assert records.names == files.names[:2]
        for i in range(2):
            np.testing.assert_array_equal(records[i].boxes, files[i].boxes)
            assert records[i][:1] + records[i][2:3] == files[i][:1] + files[i][2:3]
            assert records[i].group == "ucf101_24"
            assert records[i].mask is None
            np.testing.assert_array_equal(records[i].clip, files[i].clip)
        with pytest.raises(IndexError):
            records[2]
    # Nine frames at 25 per second: three at half of it begin at 0.06 s.
    assert [number(frame) for frame in records[0].clip] == [2, 4, 6]
    again = pickle.loads(pickle.dumps(records))
    np.testing.assert_array_equal(again[1].clip, records[1].clip)
    train = from_records(builder.as_data_source("train"), Spec(num_frames=9))
    assert train.names == (NAMES[3],)
    assert [number(frame) for frame in train[0].clip] == list(range(9))
    # As others read it, knowing nothing of our class.
    folder = tmp_path / "records" / "jaxattr_ucf101_24" / "1.0.0"
    source = tfds.builder_from_directory(folder).as_data_source("test")
    assert from_records(source, spec).names == records.names
    with pytest.raises(ValueError, match="whole split"):
        from_records(builder.as_data_source("test[:1]"), spec)
    with pytest.raises(ValueError, match="whole split"):
        from_records([1], spec)


def test_what_to_bring_is_said(tmp_path):
    builder = builders.Ucf101Boxes(data_dir=tmp_path / "records")
    with pytest.raises(AssertionError, match="gurkirt"):  # That of TFDS.
        builder.download_and_prepare()
    with pytest.raises(FileNotFoundError, match="gurkirt"):
        builder.download_and_prepare(download_config=builder.take_from(tmp_path))


def test_one_configuration_per_family():
    assert set(builders.Evidence.builder_configs) == set(evidence.FAMILIES)


@pytest.mark.slow  # Another process starts JAX.
def test_reading_takes_no_tensorflow():
    code = (
        "import sys, jaxattr.data\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "import jaxattr.data.builders\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
