"""Data sets as published, a few frames of each: names, classes, frames, errors."""

import json
import pickle

import numpy as np
import pytest
from numbered_video import Spec, number, write_video
from published import write_frames, write_table

import jaxattr.data as data

pytest.importorskip("PIL.Image")
SPEC = Spec(num_frames=4, sampling="long_range_last")


def numbers(sample):
    return [number(frame) for frame in sample.clip]


def write_ucf101(root):
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text(
        "1 Archery\r\n2 Biking\r\n3 HandstandPushups\r\n"
    )
    (lists / "testlist02.txt").write_text(
        "Biking/v_Biking_g01_c02.avi\r\nHandStandPushups/v_HandStandPushups_g07_c01.avi\n"
    )
    (lists / "trainlist02.txt").write_text("Archery/v_Archery_g08_c01.avi 1\n")
    videos = root / "UCF-101"
    write_frames(videos / "Biking" / "v_Biking_g01_c02", range(9))
    path = videos / "HandstandPushups" / "v_HandStandPushups_g07_c01.avi"
    path.parent.mkdir()
    write_video(path, 12, codec="mpeg4")
    return root


def test_ucf101(tmp_path):
    root = write_ucf101(tmp_path)
    samples = data.ucf101(root, SPEC, fold=2)
    assert samples.names == (
        "Biking/v_Biking_g01_c02",
        "HandStandPushups/v_HandStandPushups_g07_c01",
    )
    assert [s.target for s in samples] == [1, 2]
    assert numbers(samples[0]) == [2, 4, 6, 8]  # range(0, 9, 2), the last four.
    assert numbers(samples[1]) == numbers(samples[-1]) == [0, 3, 6, 9]
    sample = samples[1]
    assert sample.name == samples.names[1]
    assert sample.group == "ucf101"
    assert sample.clip.dtype == np.float32
    assert sample.clip.shape == (4, 20, 28, 3)
    assert sample.boxes is None
    assert sample.mask is None
    train = data.ucf101(root, SPEC, split="train", fold=2)
    assert train.names == ("Archery/v_Archery_g08_c01",)
    with pytest.raises(FileNotFoundError, match="v_Archery_g08_c01"):
        train[0]


def test_ucf101_says_what_to_bring(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"(?s)list.*testlist01.*crcv\.ucf\.edu"
    ):
        data.ucf101(tmp_path, SPEC)
    with pytest.raises(ValueError, match="`fold`"):
        data.ucf101(tmp_path, SPEC, fold=0)
    with pytest.raises(ValueError, match="`split`"):
        data.ucf101(tmp_path, SPEC, split="val")
    lists = write_ucf101(tmp_path) / "ucfTrainTestlist"
    (lists / "testlist01.txt").write_text("Bowling/v_Bowling_g01_c01.avi\n")
    with pytest.raises(ValueError, match=r"v_Bowling_g01_c01.*no class 'bowling'"):
        data.ucf101(tmp_path, SPEC)[0]
    (lists / "classInd.txt").write_text("Archery\n")
    with pytest.raises(ValueError, match="classInd"):
        data.ucf101(tmp_path, SPEC)
    (lists / "testlist03.txt").write_text("\n")
    (lists / "classInd.txt").write_text("1 Archery\n")
    with pytest.raises(ValueError, match="no clip"):
        data.ucf101(tmp_path, SPEC, fold=3)


LABELS = ("abseiling", "arm wrestling", "zumba")


def test_kinetics_in_class_folders(tmp_path):
    write_frames(tmp_path / "val" / "zumba" / "b_000001_000011", range(8))
    write_frames(tmp_path / "val" / "arm_wrestling" / "a_000010_000020", range(1, 9))
    samples = data.kinetics(tmp_path, SPEC, labels=LABELS)
    assert samples.names == ("a_000010_000020", "b_000001_000011")
    assert [s.target for s in samples] == [1, 2]
    assert numbers(samples[0]) == [1, 3, 5, 7]
    with pytest.raises(ValueError, match="`labels`"):
        data.kinetics(tmp_path, SPEC)
    with pytest.raises(ValueError, match=r"b_000001.*no class 'zumba'"):
        data.kinetics(tmp_path, SPEC, labels=LABELS[:2])[1]
    with pytest.raises(FileNotFoundError, match="cvdfoundation"):
        data.kinetics(tmp_path, SPEC, split="test", labels=LABELS)


@pytest.mark.parametrize("place", ["val.csv", "annotations/val.csv"])
def test_kinetics_with_a_list(tmp_path, place):
    rows = [("abseiling", "x-_1", 5), ("zumba", "dead", 10), ("arm wrestling", "y", 0)]
    names = ("label", "youtube_id", "time_start")
    table = [
        {**dict(zip(names, row)), "time_end": row[2] + 10, "split": "val"}
        for row in rows
    ]
    write_table(tmp_path / place, table)
    write_frames(tmp_path / "val" / "x-_1_000005_000015", range(4))  # All in one.
    write_frames(tmp_path / "val" / "arm wrestling" / "y_000000_000010", range(4, 8))
    samples = data.kinetics(tmp_path, SPEC, labels=LABELS)
    assert samples.names == (
        "x-_1_000005_000015",
        "dead_000010_000020",
        "y_000000_000010",
    )
    assert [samples.target(i) for i in (0, 2)] == [0, 1]
    assert numbers(samples[2]) == [4, 5, 6, 7]
    with pytest.raises(FileNotFoundError, match="dead_000010_000020"):
        samples[1]


@pytest.mark.parametrize("form", ["labels/{}.json", "something-something-v2-{}.json"])
def test_something_something(tmp_path, form):
    clips = [
        {"id": "74225", "label": "spinning cube", "template": "Spinning [something]"},
        {"id": "8", "label": "a", "template": "Putting [something] on [something]"},
        {"id": "9", "label": "a", "template": "Unknown"},
        {"id": "10"},
    ]
    table = {"Putting something on something": "1", "SPINNING something": "0"}
    for name, content in (("validation", clips), ("labels", table)):
        path = tmp_path / form.format(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    videos = tmp_path / "20bn-something-something-v2"
    write_frames(videos / "8", range(4))
    write_video(videos / "74225.webm", 8, codec="libvpx-vp9", fps=12)
    samples = data.something_something(tmp_path, SPEC)
    assert samples.names == ("74225", "8", "9", "10")
    assert [samples[i].target for i in (0, 1)] == [0, 1]
    assert numbers(samples[0]) == [0, 2, 4, 6]
    for i in (2, 3):
        with pytest.raises(ValueError, match=f"clip '{clips[i]['id']}'.*template"):
            samples[i]
    with pytest.raises(FileNotFoundError, match=r"(?s)train\.json.*qualcomm"):
        data.something_something(tmp_path, SPEC, split="train")
    subset = tmp_path / "top.json"
    subset.write_text(json.dumps({"Spinning something": 7}))
    assert data.something_something(tmp_path, SPEC, labels=subset)[0].target == 7
    subset.write_text("{")
    with pytest.raises(ValueError, match=r"top\.json.*not a JSON"):
        data.something_something(tmp_path, SPEC, annotations=subset)


def test_from_csv(tmp_path):
    write_frames(tmp_path / "a", range(8))
    half = [0.25, 0.5, 0.5, 1.0]
    rows = [
        {
            "path": "a",
            "target": 3,
            "name": "A",
            "boxes": json.dumps([None] + [half] * 7),
        },
        {"path": "a", "target": 4, "name": "B", "boxes": ""},
        {"path": "a", "target": "x", "name": "C", "boxes": "[null]"},
        {"path": "a", "target": 3, "name": "D", "boxes": "[[1, 2]]"},
        {"path": "a", "target": 3, "name": "E", "boxes": "[null]"},
        {"path": "a", "target": 3, "name": "F", "boxes": "eval('1')"},
        {"path": "a", "target": 3, "name": "G", "boxes": f"[[1, 2, 3, 1{'0' * 400}]]"},
        {"path": "a", "target": 3, "name": "H", "boxes": "[[1, 2, 3, NaN]]"},
        {"path": "a", "target": 3, "name": "I", "boxes": "[[0, 4, 30, 40]]"},
    ]
    write_table(tmp_path / "clips.csv", rows)
    samples = data.from_csv(tmp_path, SPEC, group="mine")
    sample = samples[0]
    assert (sample.name, sample.target, sample.group) == ("A", 3, "mine")
    # 20 x 28: rows 10 to 20 (the last is 19), columns 7 to 14.
    box = [10, 7, 19, 14]
    np.testing.assert_array_equal(sample.boxes, [[np.nan] * 4, box, box, box])
    for i, match in enumerate(
        [
            "missing",
            "`target`",
            "`boxes` must be 4",
            "1 frames",
            "must be JSON",
            "4 numbers",
            "4 numbers",
            "in fractions of width and height",
        ],
        1,
    ):
        with pytest.raises(ValueError, match=f"clip '{'ABCDEFGHI'[i]}'.*{match}"):
            samples[i]
    write_table(tmp_path / "clips.csv", rows[:1] * 2)
    with pytest.raises(ValueError, match="'A' twice"):
        data.from_csv(tmp_path, SPEC)
    (tmp_path / "clips.csv").write_text("path\na\n")
    with pytest.raises(ValueError, match="no column 'target'"):
        data.from_csv(tmp_path, SPEC)
    (tmp_path / "clips.csv").write_text("path,target\na\n")
    with pytest.raises(ValueError, match="line 2 has too few"):
        data.from_csv(tmp_path, SPEC)


def test_boxes_follow_region_resize_and_crop(tmp_path):
    write_frames(tmp_path / "a", range(4), size=(40, 64))
    box = [0.25, 0.2, 0.75, 0.8]
    row = {
        "path": "a",
        "target": 0,
        "boxes": json.dumps([box, [0, 0, 0.3, 1], [0, 0.95, 1, 1], box]),
        "region": "[4, 8, 36, 56]",  # 32 x 48 pixels.
    }
    write_table(tmp_path / "clips.csv", [row])
    spec = Spec(num_frames=4, size=(20, 20), resize=(24, 60))
    sample = data.from_csv(tmp_path, spec)[0]
    # In the region: rows 6.4 to 25.6, columns 12 to 36; resized: rows 4.8 to 19.2,
    # columns 15 to 45; the crop begins at row 2 and column 20.
    # Of the second and third box nothing is left.
    box, none = [2, 0, 18, 19], [np.nan] * 4
    np.testing.assert_array_equal(sample.boxes, [box, none, none, box])


def test_an_undecodable_clip_is_an_error_with_its_name(tmp_path):
    root = write_ucf101(tmp_path)
    path = root / "UCF-101" / "HandstandPushups" / "v_HandStandPushups_g07_c01.avi"
    path.write_bytes(b"RIFF" + bytes(2000))
    samples = data.ucf101(root, SPEC, fold=2)
    with pytest.raises(ValueError, match="clip 'HandStandPushups/v_Hand"):
        samples[1]
    assert numbers(samples[0]) == [2, 4, 6, 8]  # The others are as they were.
    short = data.ucf101(root, Spec(num_frames=10), fold=2)
    with pytest.raises(ValueError, match=r"clip .Biking.*too few frames"):
        short[0]


def test_data_sets_pickle_and_index_like_sequences(tmp_path):
    samples = data.ucf101(write_ucf101(tmp_path), SPEC, fold=2)
    again = pickle.loads(pickle.dumps(samples))
    np.testing.assert_array_equal(again[0].clip, samples[0].clip)
    assert samples.length(0) == 9
    assert samples.length(1) == 12
    with pytest.raises(IndexError):
        samples[2]
    with pytest.raises(TypeError, match="`spec`"):
        data.ucf101(tmp_path, object(), fold=2)
