"""Clips joined in time: shares, sides, partners, masks and boxes, by hand."""

import pickle

import numpy as np
import pytest
from numbered_video import Spec, number
from published import python2_pickle, write_frames

from jaxattr.data import Sample, cat_ucf, ucf101_24

pytest.importorskip("PIL.Image")


class Memory:
    """A data set of arrays: clip i has T frames of the value 100 i + t."""

    def __init__(self, classes, num_frames=8, mask=False, prefix="m"):
        self.names = [f"{prefix}{i}" for i in range(len(classes))]
        self.classes, self.num_frames, self.mask = classes, num_frames, mask

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        t = np.arange(self.num_frames, dtype=np.float32) + 100 * i
        clip = np.broadcast_to(t[:, None, None, None], (len(t), 5, 7, 3))
        mask = np.zeros((len(t), 5, 7), bool)
        mask[::2, 1, 2] = True
        return Sample(
            self.names[i],
            clip,
            self.classes[i],
            boxes=np.tile(t[:, None], 4) if self.mask else None,
            mask=mask if self.mask else None,
        )


def test_any_samples_are_joined_half_and_half():
    targets, others = Memory([0, 1, 0, 2]), Memory([0, 1], prefix="o")
    joined = cat_ucf(targets, others)
    assert list(joined.names) == ["cat/m0", "cat/m1", "cat/m2", "cat/m3"]
    for i, sample in enumerate(joined):
        pair = joined.pair(i)
        assert others.classes[pair.distractor] != targets.classes[i] == sample.target
        assert pair.num_frames == 4  # Both have eight: half each, every second frame.
        own, other = 100 * i, 100 * pair.distractor
        parts = [[t + k for k in (0, 2, 4, 6)] for t in (own, other)]
        window = [True] * 4 + [False] * 4
        if not pair.first:
            parts, window = parts[::-1], window[::-1]
        np.testing.assert_array_equal(sample.clip[:, 4, 6, 2], np.concatenate(parts))
        np.testing.assert_array_equal(sample.mask.all((1, 2)), window)
        np.testing.assert_array_equal(sample.mask.any((1, 2)), window)
        assert sample.boxes is None
        assert sample.clip.shape == (8, 5, 7, 3)


def test_evidence_of_the_target_stays_in_its_part():
    joined = cat_ucf(Memory([0, 1], 6, mask=True))
    sample, pair = joined[0], joined.pair(0)
    part = slice(0, 3) if pair.first else slice(3, 6)
    # Frames 0, 2, 4 of the target are taken, and the mask is in all of them.
    expected = np.zeros((6, 5, 7), bool)
    expected[part, 1, 2] = True
    np.testing.assert_array_equal(sample.mask, expected)
    boxes = np.full((6, 4), np.nan)
    boxes[part] = [[0] * 4, [2] * 4, [4] * 4]
    np.testing.assert_array_equal(sample.boxes, boxes)


def test_a_partner_that_cannot_be_read_is_left_for_another():
    class Damaged(Memory):
        damaged = None

        def __getitem__(self, i):
            if i == self.damaged:
                raise ValueError("damaged")
            return super().__getitem__(i)

    targets, others = Memory([0]), Damaged([1, 1, 0])
    joined = cat_ucf(targets, others)
    others.damaged = joined.pair(0).distractor
    assert joined.pair(0).distractor == 1 - others.damaged
    assert joined[0].target == 0
    with pytest.raises(ValueError, match="damaged"):
        cat_ucf(others)[others.damaged]


def test_pairs_depend_on_seed_and_index_alone():
    classes = list(range(10))
    first, again = cat_ucf(Memory(classes)), cat_ucf(Memory(classes))
    pairs = [first.pair(i) for i in range(10)]
    assert [again.pair(i) for i in reversed(range(10))] == pairs[::-1]
    assert 2 <= sum(pair.first for pair in pairs) <= 8
    assert [cat_ucf(Memory(classes), seed=1).pair(i) for i in range(10)] != pairs
    shorter = pickle.loads(pickle.dumps(cat_ucf(Memory(classes[:3]), Memory(classes))))
    assert [shorter.pair(i) for i in range(3)] == pairs[:3]


def test_errors():
    with pytest.raises(ValueError, match=r"cat/m1.*no distractor"):
        cat_ucf(Memory([0, 1]), Memory([1, 1]))[1]
    with pytest.raises(IndexError):
        cat_ucf(Memory([0, 1]))[2]


def write_videos(root, lengths):
    """UCF101-24 with one video per class, and its length in the annotation."""
    names = [f"Class{i}/v_Class{i}_g01_c01" for i in range(len(lengths))]
    entries = {}
    for i, (name, n) in enumerate(zip(names, lengths)):
        write_frames(root / "rgb-images" / name, range(1, n + 1), "{:05d}.png")
        boxes = np.tile(np.array([[10 * i, 0, 32, 24]], np.uint8), (n, 1))
        tube = {"label": i, "sf": 0, "ef": n, "boxes": boxes}
        entries[name] = {"numf": n, "label": i, "annotations": [tube]}
    (root / "pyannot.pkl").write_bytes(python2_pickle(entries, 2))
    (root / "testlist01.txt").write_text("\n".join(names))
    return root


@pytest.mark.parametrize("seed", [0, 3])  # Of which 3 has to reject one.
def test_parts_come_from_the_whole_of_their_sources(tmp_path, seed):
    lengths = [60, 23, 40]
    root = write_videos(tmp_path, lengths)
    spec = Spec(num_frames=16, size=(24, 32))
    joined = cat_ucf(ucf101_24(root, spec), seed=seed)
    for i, sample in enumerate(joined):
        other, first, share = joined.pair(i)
        assert other != i
        own, distractor = lengths[i], lengths[other]
        if min(lengths) < own:
            assert distractor <= own
        assert share == 16 * own // (own + distractor)
        parts = [
            list(range(0, n, n // k))[-k:]  # As the study samples.
            for n, k in ((own, share), (distractor, 16 - share))
        ]
        window = [True] * share + [False] * (16 - share)
        if not first:
            parts, window = parts[::-1], window[::-1]
        shown = [number(frame) - 1 for frame in sample.clip]
        assert shown == parts[0] + parts[1]
        np.testing.assert_array_equal(sample.mask.all((1, 2)), window)
        np.testing.assert_array_equal(~np.isnan(sample.boxes).any(1), window)
        assert (sample.boxes[window] == [0, i, 3, i + 4]).all()
