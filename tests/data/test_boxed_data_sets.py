"""UCF101-24 and EPIC-Kitchens-55 as published: boxes, worked out anew in loops."""

import json
import math

import numpy as np
import pytest
from numbered_video import Spec, number, write_video
from published import python2_pickle, write_frames, write_table

import jaxattr.data as data

pytest.importorskip("PIL.Image")
NAN = [math.nan] * 4
SPEC = Spec(num_frames=4, size=(112, 112), sampling="long_range_last")
NAMES = ["Biking/v_Biking_g01_c01", "Fencing/v_Fencing_g02_c03"]


def tube(start, boxes, dtype=np.uint8):
    return {
        "label": 2,
        "sf": start,
        "ef": start + len(boxes),
        "boxes": np.array(boxes, dtype),
    }


# One actor from frame 1, another one from frame 5, whom the file lists later. 250 + 60
# does not fit into a byte.
BOXES = [[250, 180, 60, 40], [249, 100, 60, 40], [10, 0, 20, 31]] + [[1, 2, 3, 4]] * 5
OTHER = [[40, 50, 64, 75], [50, 60, 0, 0]]
ENTRY = {"numf": 9, "label": 2, "annotations": [tube(1, BOXES), tube(5, OTHER)]}


def study(x, y, w, h):
    """The formula of Li et al. for 112 pixels, as (y0, x0, y1, x1)."""
    return [
        min(math.floor(112 * y / 240), 111),
        min(math.floor(112 * x / 320), 111),
        min(math.ceil(112 * (y + h) / 240), 111),
        min(math.ceil(112 * (x + w) / 320), 111),
    ]


def write_ucf101_24(root, entries, protocol=2):
    (root / "pyannot.pkl").write_bytes(python2_pickle(entries, protocol))
    (root / "testlist01.txt").write_text("".join(f"{name}\n" for name in NAMES))
    for name in NAMES:
        write_frames(root / "rgb-images" / name, range(1, 10), "{:05d}.jpg")
    return root


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("size", [(24, 32), (240, 320)])
def test_ucf101_24(tmp_path, protocol, size):
    entries = {NAMES[0]: ENTRY, NAMES[1]: {**ENTRY, "annotations": []}}
    entries["Biking/v_Biking_g09_c01"] = ENTRY
    root = write_ucf101_24(tmp_path, entries, protocol)
    if size != (24, 32):
        frames = root / "rgb-images" / NAMES[0]
        for file in frames.iterdir():
            file.unlink()
        frames.rmdir()
        write_frames(frames, range(1, 10), "{:05d}.jpg", size)
    samples = data.ucf101_24(root, SPEC)
    assert list(samples.names) == NAMES
    sample = samples[0]
    # Nine frames, every second one, the last four: 2, 4, 6, 8 from 0.
    assert [number(frame) for frame in sample.clip] == [3, 5, 7, 9]
    assert (sample.target, sample.group) == (2, "ucf101_24")
    # Frame 6 has the other actor's empty box, which is none.
    expected = [study(*BOXES[1]), study(*BOXES[3]), NAN, study(*BOXES[7])]
    np.testing.assert_array_equal(sample.boxes, expected)
    assert sample.boxes.dtype == np.float32
    dense = data.ucf101_24(root, Spec(num_frames=9, size=(112, 112)))[0]
    expected = [NAN, *(study(*b) for b in BOXES)]
    expected[5:7] = [study(*OTHER[0]), NAN]
    np.testing.assert_array_equal(dense.boxes, expected)
    np.testing.assert_array_equal(samples[1].boxes, [NAN] * 4)
    assert data.ucf101_24(root, SPEC, split="train").names == (
        "Biking/v_Biking_g09_c01",
    )


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {"numf": 9, "label": 1},
        {**ENTRY, "annotations": [{**tube(1, BOXES), "ef": 99}]},
        {**ENTRY, "annotations": [{**tube(1, BOXES), "boxes": "no"}]},
        {**ENTRY, "annotations": [{**tube(1, BOXES), "boxes": np.zeros((8, 3), "u1")}]},
        {**ENTRY, "annotations": 3},
        {**ENTRY, "label": "x"},
        [1],
    ],
)
def test_a_missing_annotation_concerns_its_clip_only(tmp_path, entry):
    entries = {NAMES[0]: ENTRY, "Fencing/v_Fencing_g08_c01": ENTRY}
    if entry is not None:
        entries[NAMES[1]] = entry
    samples = data.ucf101_24(write_ucf101_24(tmp_path, entries), SPEC)
    assert list(samples.names) == NAMES
    match = "missing" if entry is None else "malformed"
    with pytest.raises(ValueError, match=f"clip '{NAMES[1]}'.*annotation is {match}"):
        samples[1]
    assert samples[0].target == 2


def test_ucf101_24_says_what_to_bring(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)pyannot\.pkl.*gurkirt"):
        data.ucf101_24(tmp_path, SPEC)
    with pytest.raises(ValueError, match="`split`"):
        data.ucf101_24(tmp_path, SPEC, split="val")
    root = write_ucf101_24(tmp_path, {NAMES[0]: ENTRY})
    (root / "pyannot.pkl").write_bytes(python2_pickle([1], 2))
    with pytest.raises(ValueError, match="not a table"):
        data.ucf101_24(root, SPEC)


ACTION = {
    "uid": 5,
    "participant_id": "P01",
    "video_id": "P01_02",
    "narration": "take cloth",
    "start_timestamp": "00:00:00.14",
    "stop_timestamp": "00:00:02.00",
    "start_frame": 16,
    "stop_frame": 95,
    "verb": "take",
    "verb_class": 0,
    "noun": "cloth",
    "noun_class": 17,
    "all_nouns": "['cloth']",
    "all_noun_classes": "[17]",
}


def seen(frame, boxes, noun=17, video="P01_02"):
    return {
        "noun_class": noun,
        "noun": "cloth",
        "participant_id": "P01",
        "video_id": video,
        "frame": frame,
        "bounding_boxes": repr(boxes),
    }


def slow_nearest(number, annotated, reach):
    """The box of the nearest annotated frame, the earlier of two, by search."""
    best = None
    for frame in sorted(annotated):
        away = abs(frame - number)
        if away <= reach and (best is None or away < best[0]):
            best = away, annotated[frame]
    if best is None or best[1] is None:
        return NAN
    top, left, height, width = best[1]
    return [
        math.floor(112 * top / 1080),
        math.floor(112 * left / 1920),
        min(math.ceil(112 * (top + height) / 1080), 111),
        min(math.ceil(112 * (left + width) / 1920), 111),
    ]


@pytest.mark.parametrize("reach", [15, 3])
@pytest.mark.parametrize("label", ["noun", "verb"])
def test_epic_kitchens_as_published(tmp_path, label, reach):
    write_frames(
        tmp_path / "P01" / "P01_02", range(1, 121), "frame_{:010d}.png", (24, 40)
    )
    actions = [ACTION, {**ACTION, "uid": 6, "noun_class": 3}]
    write_table(tmp_path / "EPIC_train_action_labels.csv", actions)
    table = [
        seen(61, []),
        seen(91, [(7, 8, 9, 10), (300, 500, 200, 1420)]),
        seen(1, [(5, 6, 7, 8)]),
        seen(31, [(100, 200, 300, 400)]),
        seen(31, [(1, 1, 1, 1)], noun=4),
        seen(31, [(1, 1, 1, 1)], video="P01_01"),
    ]
    write_table(tmp_path / "objects.csv", table)
    spec = Spec(num_frames=8, size=(112, 112), sampling="long_range_last")
    samples = data.epic_kitchens(
        tmp_path, spec, objects="objects.csv", label=label, reach=reach
    )
    assert samples.names == ("P01_02_5", "P01_02_6")
    sample = samples[0]
    taken = range(16, 96, 10)  # Eighty frames, every tenth; three are halfway.
    assert [number(frame) for frame in sample.clip] == list(taken)
    assert sample.target == (17 if label == "noun" else 0)
    annotated = {
        1: (5, 6, 7, 8),
        31: (100, 200, 300, 400),
        61: None,
        91: (300, 500, 200, 1420),
    }
    expected = [slow_nearest(n, annotated, reach) for n in taken]
    np.testing.assert_array_equal(sample.boxes, expected)
    with pytest.raises(ValueError, match=r"clip 'P01_02_6'.*annotation is missing"):
        samples[1]
    without = data.epic_kitchens(tmp_path, spec, label=label)
    assert without[1].boxes is None


def test_epic_kitchens_samples_at_the_rate_of_the_spec(tmp_path):
    write_frames(tmp_path / "P01" / "P01_02", range(1, 121), "frame_{:010d}.png")
    write_table(tmp_path / "EPIC_train_action_labels.csv", [ACTION])
    spec = Spec(num_frames=4, fps=10.0, sampling="centre")
    sample = data.epic_kitchens(tmp_path, spec, fps=60.0)[0]
    # 80 frames are 4/3 s; four frames at 10 per second begin at 7/15 s, frame 28.
    assert [number(f) for f in sample.clip] == [16 + 28 + 6 * i for i in range(4)]


def test_frames_of_an_epic_video_count_from_one(tmp_path):
    (tmp_path / "P01").mkdir()
    write_video(tmp_path / "P01" / "P01_02.MP4", 100)
    write_table(tmp_path / "EPIC_train_action_labels.csv", [ACTION])
    write_table(tmp_path / "objects.csv", [seen(36, [(0, 0, 540, 960)])])
    samples = data.epic_kitchens(tmp_path, SPEC, objects="objects.csv", reach=0)
    # Frames 16, 36, 56 and 76; the first picture is number 0 and frame 1.
    assert [number(frame) for frame in samples[0].clip] == [15, 35, 55, 75]
    assert (~np.isnan(samples[0].boxes)).all(1).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("cell", "boxes"),
    [
        ({31: (100, 200, 300, 400)}, {31: (100, 200, 300, 400)}),  # The test table.
        (
            {61: [(5, 6, 70, 80), (9, 9, 99, 99)], 31: [(100, 200, 300, 400)]},
            {31: (100, 200, 300, 400), 61: (9, 9, 99, 99)},
        ),
        ({31: [], 61: [[1, 2, 300, 400]]}, {31: None, 61: (1, 2, 300, 400)}),
    ],
)
def test_epic_kitchens_in_the_form_of_the_study(tmp_path, cell, boxes):
    folder = tmp_path / "P01" / "P01_02" / "P01_02_5-take-cloth"
    write_frames(folder, range(28, 68), "frame_{:010d}.png")
    write_frames(folder.with_name("P01_02_55-put-cloth"), range(1, 2))
    row = {
        "seg_id": 5,
        "video_id": "P01_02",
        "noun": "cloth",
        "noun_label": 18,
        "verb": "take",
        "start_frame": 28,
        "stop_frame": 67,
        "bounding_boxes": repr(cell),
    }
    write_table(tmp_path / "study.csv", [row])
    sample = data.epic_kitchens(tmp_path, SPEC, segments="study.csv")[0]
    assert sample.target == 18
    assert [number(frame) for frame in sample.clip] == [28, 38, 48, 58]
    expected = [slow_nearest(n, boxes, 15) for n in (28, 38, 48, 58)]
    np.testing.assert_array_equal(sample.boxes, expected)
    with pytest.raises(ValueError, match="no column 'verb_label'"):
        data.epic_kitchens(tmp_path, SPEC, segments="study.csv", label="verb")


@pytest.mark.parametrize(
    ("cell", "match"),
    [
        ("{31: (1, 2, 3)}", "`bounding_boxes`"),
        ("__import__('os').getcwd()", "literal"),
        ("{31: 5}", "`bounding_boxes`"),
        ("[(1, 2, 3, 4)]", "dict"),
        ("", "missing"),
        ("(" * 9999, "literal"),
    ],
)
def test_bad_cells_name_the_clip(tmp_path, cell, match):
    write_frames(tmp_path / "P01" / "P01_02", range(1, 41), "frame_{:010d}.png")
    row = {
        **{"seg_id": 5, "video_id": "P01_02", "noun_label": 18},
        **{"start_frame": 1, "stop_frame": 40, "bounding_boxes": cell},
    }
    write_table(tmp_path / "study.csv", [row])
    samples = data.epic_kitchens(tmp_path, SPEC, segments="study.csv")
    with pytest.raises(ValueError, match=f"clip 'P01_02_5'.*{match}"):
        samples[0]


def test_epic_kitchens_says_what_to_bring(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)action_labels.*epic-kitchens-55"):
        data.epic_kitchens(tmp_path, SPEC)
    with pytest.raises(ValueError, match="`label`"):
        data.epic_kitchens(tmp_path, SPEC, label="action")
    with pytest.raises(ValueError, match="`reach`"):
        data.epic_kitchens(tmp_path, SPEC, reach=-1)
    write_table(tmp_path / "EPIC_train_action_labels.csv", [ACTION])
    samples = data.epic_kitchens(tmp_path, SPEC)
    with pytest.raises(FileNotFoundError, match="P01_02"):
        samples[0]
    write_frames(tmp_path / "P01" / "P01_02", range(1, 3), "frame_{:010d}.png")
    with pytest.raises(FileNotFoundError, match="no frame from 16 to 95"):
        samples[0]


def test_real_epic_frames_have_the_boxes_checked_by_eye(shared_clips, tmp_path):
    known = json.loads((shared_clips / "boxes.json").read_text())["clips"]
    for name, clip in known.items():
        if not name.startswith("epic55"):
            continue
        video, uid = name.rsplit("-", 1)[1].rsplit("_", 1)
        folder = tmp_path / video[:3] / video / f"{video}_{uid}-verb-noun"
        folder.mkdir(parents=True)
        pictures = sorted((shared_clips / "frames" / name).iterdir())
        for picture, frame in zip(pictures, clip["original_frames"]):
            (folder / f"frame_{frame:010d}.png").symlink_to(picture)
        frames = clip["original_frames"]
        action = {
            **ACTION,
            **{"uid": uid, "video_id": video},
            **{"start_frame": frames[0], "stop_frame": frames[-1]},
        }
        write_table(tmp_path / "actions.csv", [action])
        raw = clip["raw_yxhw_1080x1920"]
        table = [seen(int(f), [tuple(b)], video=video) for f, b in raw.items()]
        write_table(tmp_path / "objects.csv", table)
        spec = Spec(num_frames=16, size=(256, 344))
        samples = data.epic_kitchens(
            tmp_path, spec, segments="actions.csv", objects="objects.csv"
        )
        boxes = samples[0].boxes
        for got, expected in zip(boxes, clip["boxes"], strict=True):
            if expected is None:
                assert np.isnan(got).all()
                continue
            x0, y0, x1, y1 = np.array(expected) * [344, 256, 344, 256]
            ends = [y0, x0, min(y1, 255), min(x1, 343)]
            np.testing.assert_allclose(got, ends, atol=1.01)  # Rounded outward.
            assert (got[:2] <= np.add(ends[:2], 0.01)).all()
            assert (got[2:] >= np.subtract(ends[2:], 0.01)).all()
