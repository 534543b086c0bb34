"""The kinds of data: a folder of clips with labels and boxes, certified evidence."""

import dataclasses
import functools
import json
import pickle
import time
import types

import jax
import numpy as np
import pytest
import toys
from PIL import Image

import jaxattr_models
from jaxattr.data import _windows, cat_ucf, evidence, from_records, read_clip
from jaxattr.data._decode import read_frames
from jaxattr.data._sample import MissingAnnotation
from jaxattr.data._windows import Windows
from jaxattr.evaluation import SOURCES, evaluate, read_settings
from jaxattr.evaluation._loader import Loader
from jaxattr.evaluation._run import spread
from jaxattr.metrics import boxes_to_mask

SPEC = types.SimpleNamespace(
    num_frames=3,
    size=(16, 24),
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
    scale=1 / 255,
    channel_order="rgb",
    resize=(20, 32),
    antialias=False,
    fps=None,
    sampling="uniform",
    short="error",
    labels=("walk", "run"),
)
NETWORK = types.SimpleNamespace(spec=SPEC)
SIX = vars(SPEC) | {"num_frames": 6}


@pytest.fixture
def folder(tmp_path):
    """Three clips of 6 frames of 40 x 64, in which a white box moves to the right."""
    boxes = {}
    for name in ("a", "b", "c"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        rows = []
        for t in range(6):
            pixels = np.zeros((40, 64, 3), np.uint8)
            y0, x0, y1, x1 = 8, 12 + 4 * t, 24, 20 + 4 * t
            pixels[y0:y1, x0:x1] = 255
            Image.fromarray(pixels).save(tmp_path / "clips" / name / f"{t}.png")
            rows.append([x0 / 64, y0 / 40, x1 / 64, y1 / 40])
        rows[4] = None
        boxes[name] = {"boxes": rows}
    boxes["b"]["boxes"] = [[0.0, 0.0, 0.05, 0.05]] * 6  # Cropped away.
    del boxes["c"]
    (tmp_path / "boxes.json").write_text(json.dumps({"clips": boxes}))
    (tmp_path / "labels.csv").write_text("clip,label\na,run\nb,0\n")
    return tmp_path


def test_a_folder_of_clips(folder):
    samples = SOURCES["folder"].make(
        NETWORK,
        None,
        folder=str(folder / "clips"),
        labels=str(folder / "labels.csv"),
        boxes=str(folder / "boxes.json"),
    )
    assert list(samples.names) == ["a", "b", "c"]
    assert len(samples) == 3
    sample = samples[0]
    assert (sample.name, sample.target) == ("a", 1)
    assert sample.clip.shape == (3, 16, 24, 3)
    # Frames 1, 3 and 5, halved and cropped by 2 and 4: the box covers whole pixels.
    np.testing.assert_array_equal(
        boxes_to_mask(sample.boxes, (3, 16, 24)), sample.clip[..., 0] > 0.5
    )
    assert samples[1].target == 0
    assert np.isnan(samples[1].boxes).all()
    with pytest.raises(ValueError, match="c has no row"):
        samples[2]
    unlabelled = SOURCES["folder"].make(NETWORK, None, folder=str(folder / "clips"))
    assert unlabelled[2].boxes is None


def test_windows_of_a_folder(folder):
    """Frames 0-2, 2-4 and 3-5 of every video, and what cannot be cut said once."""
    (folder / "clips" / "broken.mp4").write_bytes(b"no video")
    (folder / "clips" / "short").mkdir()
    for t in range(2):
        pixels = np.zeros((40, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "clips" / "short" / f"{t}.png")
    make = functools.partial(
        SOURCES["windows"].make,
        NETWORK,
        None,
        folder=str(folder / "clips"),
        boxes=str(folder / "boxes.json"),
    )
    samples = make(stride=2, labels=str(folder / "labels.csv"))
    cut = [f"{name}@{start:06d}" for name in "abc" for start in (0, 2, 3)]
    assert samples.names == [*cut[:6], "broken.mp4", *cut[6:], "short"]
    whole = read_clip(folder / "clips" / "a", types.SimpleNamespace(**SIX))
    for i, start in ((0, 0), (2, 3), (1, 2)):
        sample = samples[i]
        assert (sample.name, sample.target) == (samples.names[i], 1)
        np.testing.assert_array_equal(sample.clip, whole[start : start + 3])
        seen = [start + t != 4 for t in range(3)]  # Frame 4 has no box.
        assert (~np.isnan(sample.boxes).any(1)).tolist() == seen
        np.testing.assert_array_equal(
            boxes_to_mask(sample.boxes, (3, 16, 24))[np.array(seen)],
            sample.clip[seen][..., 0] > 0.5,
        )
    with pytest.raises(ValueError, match="c has no row"):
        samples[7]
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        samples[6]
    with pytest.raises(ValueError, match="2 frames, fewer than the 3"):
        samples[10]
    again = pickle.loads(pickle.dumps(samples))
    np.testing.assert_array_equal(again[4].clip, samples[4].clip)
    assert len(make()) == 4 * 3 + 2  # Half a window, 1 frame.
    with pytest.raises(ValueError, match="`stride` must be from 1 to the 3"):
        make(stride=4)


def test_windows_are_loaded_one_after_another(folder, monkeypatch):
    """One that overtakes another would have the video decoded from its start."""
    opened, read = [], Windows.read

    def slow(self, index):
        if index == 0:
            time.sleep(0.1)  # Long enough for another thread to overtake.
        return read(self, index)

    def reading(*args):
        opened.append(args)
        return read_frames(*args)

    monkeypatch.setattr(Windows, "read", slow)
    monkeypatch.setattr(_windows, "read_frames", reading)
    samples = SOURCES["windows"].make(NETWORK, None, folder=str(folder / "clips"))
    found = [sample.name for _, sample in Loader(samples, range(len(samples)))]
    assert found == samples.names
    assert len(opened) == 3  # Videos.
    assert _windows.windows(folder / "clips" / "a", SPEC, 0).in_order


def test_records(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from jaxattr.data import builders

    config = builders.EvidenceConfig(name="few", family="order", num=2)
    builder = builders.Evidence(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    make = functools.partial(SOURCES["records"].make, NETWORK, None)
    samples = make(folder=str(builder.data_path), split="dev")
    want = from_records(builder.as_data_source("dev"), SPEC)
    assert samples.names == want.names
    np.testing.assert_array_equal(samples[1].clip, want[1].clip)
    for wrong in ({"split": "tset"}, {"folder": str(tmp_path / "few")}):
        with pytest.raises((ValueError, OSError)):
            make(**{"folder": str(builder.data_path)} | wrong)


def test_damaged_records_are_clips_that_cannot_be_read():
    """As ArrayRecord says it of a chunk that is not what was written."""
    names = {"names": {"test": ["a", "b", "c"]}}
    damaged = Damaged(types.SimpleNamespace(metadata=names), broken=(1,))
    samples = from_records(damaged, SPEC)
    (_, error), *_ = Loader(samples, [1])
    assert isinstance(error, ValueError)
    assert "clip 'b' cannot be read: Corrupted" in str(error)
    with pytest.raises(ValueError, match="first record of `source` cannot be read"):
        from_records(dataclasses.replace(damaged, broken=(0,)), SPEC)


@dataclasses.dataclass
class Damaged:
    dataset_info: types.SimpleNamespace
    broken: tuple[int, ...]

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index in self.broken:
            raise RuntimeError("Corrupted Riegeli/records file: hash mismatch")
        return {"name": b"a"}


def test_clips_of_any_data_set_are_joined(tmp_path):
    inner = {"kind": "toys"}
    data = [
        {"kind": "cat_ucf", "label": "own", "samples": inner, "seed": 3},
        {"kind": "mine", "label": "mine"},
        {"kind": "cat_ucf", "label": "other", "samples": inner, "distractors": inner},
    ]
    evaluate(
        toys.SETTINGS | {"data": data},
        tmp_path,
        networks={"linear": toys.linear()},
        data={"toys": toys.Toys(), "mine": cat_ucf(toys.Toys(), seed=3)},
    )
    found = {}
    for row in toys.rows(tmp_path):
        found.setdefault(row["data"], []).append((row["clip"], row["value"]))
    assert found["own"] == found["mine"] != found["other"]
    assert found["own"][0][0] == "cat/toy-0"
    settings = json.loads((tmp_path / "settings.json").read_text())["settings"]
    assert settings["data"]["own"]["samples"]["kind"] == "toys"


def test_a_folder_that_cannot_be_read(folder):
    make = SOURCES["folder"].make
    (folder / "labels.csv").write_text("a,jump\n")
    clips, labels = str(folder / "clips"), str(folder / "labels.csv")
    with pytest.raises(ValueError, match="line 1 must be a clip and a label"):
        make(NETWORK, None, folder=clips, labels=labels)
    with pytest.raises(ValueError, match=r"`boxes` .* cannot be read"):
        make(NETWORK, None, folder=clips, boxes=labels)
    with pytest.raises(ValueError, match="holds no video"):
        make(NETWORK, None, folder=str(folder / "clips" / "a"))
    for wrong in (
        5,
        [5] * 6,
        [["0", "0", "1", "1"]] * 6,
        [[None, 0, 1, 1]] * 6,
        [[0, 9, 30, 40]] * 6,
    ):
        (folder / "odd.json").write_text(json.dumps({"clips": {"a": {"boxes": wrong}}}))
        samples = make(NETWORK, None, folder=clips, boxes=str(folder / "odd.json"))
        with pytest.raises(ValueError, match="boxes"):
            samples[0]
        assert samples[1].boxes is None
    few = {"clips": {"a": {"boxes": [None] * 3}}}
    (folder / "few.json").write_text(json.dumps(few))
    samples = make(NETWORK, None, folder=clips, boxes=str(folder / "few.json"))
    with pytest.raises(
        MissingAnnotation, match="boxes for 3 frames, and none for frame 5"
    ):
        samples[0]


def test_a_missing_annotation_is_not_taken_for_an_undecodable_clip(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for frame in range(3):
            pixels = np.full((20, 32, 3), 60 * frame, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{frame}.png")
    box = "[0, 0, 0.5, 0.5]"
    (tmp_path / "clips.csv").write_text(
        f'path,target,boxes\na,1,"[{box}, {box}, {box}]"\nb,0,\n'
    )

    @jax.tree_util.Partial
    def f(clip):
        return clip.mean((0, 1, 2))

    f.spec = SPEC
    settings = {
        "networks": [{"name": "f"}],
        "data": [{"kind": "csv", "folder": str(tmp_path)}],
        "methods": [{"name": "saliency"}],
        "metrics": [{"name": "energy"}],
    }
    summary = evaluate(settings, tmp_path / "out", networks={"f": f})
    lines = (tmp_path / "out" / "records-0of1.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [row["status"] for row in found] == ["ok", "no annotation"]
    assert "clip 'b': the annotation is missing" in found[1]["message"]
    assert summary.undecodable == 0


def test_nouns_and_verbs_of_epic_kitchens(tmp_path):
    """`label`, the setting of the library, is what records call a data set."""
    for frame in range(1, 4):
        path = tmp_path / "P01" / "P01_02" / f"frame_{frame:010d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 32, 3), np.uint8)).save(path)
    (tmp_path / "EPIC_train_action_labels.csv").write_text(
        "uid,video_id,start_frame,stop_frame,verb_class,noun_class\n5,P01_02,1,3,7,17\n"
    )
    data = [{"kind": "epic_kitchens", "folder": str(tmp_path), "label": "nouns"}]
    data.append(data[0] | {"label": "verbs", "word": "verb"})
    raw = {
        "networks": [{"name": "f"}],
        "data": data,
        "methods": [{"name": "saliency"}],
        "metrics": [{"name": "energy"}],
    }
    targets = {}
    for choice in read_settings(raw, networks=["f"]).data:
        samples = SOURCES[choice.name].make(NETWORK, None, **choice.settings)
        targets[choice.label] = samples[0].target
    assert targets == {"nouns": 17, "verbs": 7}


def test_evidence_is_that_of_the_split():
    source = SOURCES["evidence"]
    samples = source.make(None, 3, family="order", certified=False, seed=1)
    assert list(samples.names) == [f"order-test-1-{i:06}" for i in range(3)]
    key = evidence.split_key("test", seed=1)
    expected = evidence.render(jax.random.fold_in(key, 2), "order")
    sample = samples[2]
    np.testing.assert_allclose(sample.clip, expected.clip, atol=1e-6)
    np.testing.assert_array_equal(sample.mask, expected.mask)
    assert sample.target == expected.target
    assert sample.group == "order"
    with pytest.raises(ValueError, match="clips"):
        source.check(None, family="order")


@pytest.mark.slow
def test_evidence_that_is_certified():
    network = jaxattr_models.evidence_lstm(weights="families-0")
    samples = SOURCES["evidence"].make(network, 5, family="and", split="train")
    judge = evidence.certify(network, "and")
    judged = evidence.certified_samples(judge, evidence.split_key("train"), 16)
    found = [f"and-train-0-{i:06}" for i in judged.indices[:5]]
    assert list(samples.names) == found


class Slow:
    names = "abcdefgh"

    def __init__(self):
        self.asked = 0

    def __len__(self):
        return 8

    def __getitem__(self, index):
        self.asked += 1
        if index == 5:
            raise OSError("gone")
        return index


def test_the_loader_looks_a_few_clips_ahead():
    samples = Slow()
    loader = Loader(samples, [7, 5, 1, 0, 2, 3, 4, 6])
    found = iter(loader)
    assert next(found) == (7, 7)
    assert samples.asked <= 6
    index, error = next(found)
    assert index == 5
    assert isinstance(error, OSError)
    assert list(found) == [(i, i) for i in (1, 0, 2, 3, 4, 6)]
    assert loader.waited >= 0


@pytest.mark.parametrize(
    ("length", "num", "expected"),
    [(5, None, [0, 1, 2, 3, 4]), (2, 5, [0, 1]), (10, 4, [0, 2, 5, 7]), (0, 3, [])],
)
def test_clips_are_taken_evenly(length, num, expected):
    assert list(spread(length, num)) == expected
