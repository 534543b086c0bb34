"""Windows over a long video show its frames in order; their maps make one map again."""

import pickle

import numpy as np
import pytest
from numbered_video import Spec, number, write_video
from published import write_frames

from jaxattr.data import stitch, windows

pytest.importorskip("PIL.Image")


@pytest.mark.parametrize(
    ("stride", "starts"),
    [(None, [0, 3, 6, 9, 12, 14]), (6, [0, 6, 12, 14]), (1, list(range(15)))],
)
def test_windows_cover_the_video(tmp_path, stride, starts):
    path = write_video(tmp_path / "a.mp4", 20)
    found = windows(path, Spec(num_frames=6), 3, stride=stride)
    assert found.starts.tolist() == starts
    assert found.frames.tolist() == list(range(20))
    assert found.names == tuple(f"a.mp4@{s:06d}" for s in starts)
    for start, sample in zip(starts, found, strict=True):
        assert [number(f) for f in sample.clip] == list(range(start, start + 6))
        assert sample.clip.dtype == np.float32
        assert (sample.target, sample.group) == (3, "a")


def test_windows_in_any_order_are_those_in_order(tmp_path):
    path = write_frames(tmp_path / "a", range(30))
    found = windows(path, Spec(num_frames=5, mean=(9.0, 5.0, 2.0)), 0, stride=4)
    in_order = [sample.clip for sample in found]
    order = np.random.default_rng(0).permutation(len(found)).tolist()
    again = pickle.loads(pickle.dumps(found))
    for i in [*order, 3, 3, 2]:
        np.testing.assert_array_equal(again[i].clip, in_order[i])
        np.testing.assert_array_equal(found[i].clip, in_order[i])


def test_in_order_a_video_is_decoded_once(tmp_path, monkeypatch):
    from jaxattr.data import _windows

    path, reads = write_frames(tmp_path / "a", range(30)), []
    real = _windows.read_frames

    def counted(reader, name, indices):
        reads.append(indices)
        return real(reader, name, indices)

    monkeypatch.setattr(_windows, "read_frames", counted)
    found = windows(path, Spec(num_frames=5), 0)
    for _ in found:
        assert len(found._held) <= 5
    assert reads == [list(range(30))]


def test_windows_have_the_rate_of_the_network(tmp_path):
    path = write_video(tmp_path / "a.mp4", 30, fps=30)
    found = windows(path, Spec(num_frames=4, fps=10.0), 0, stride=4)
    assert found.frames.tolist() == list(range(0, 30, 3))
    assert [[number(f) for f in s.clip] for s in found] == [
        [0, 3, 6, 9],
        [12, 15, 18, 21],
        [18, 21, 24, 27],
    ]


def test_window_errors(tmp_path):
    path = write_frames(tmp_path / "a", range(5))
    with pytest.raises(ValueError, match="fewer than the 6"):
        windows(path, Spec(num_frames=6), 0)
    for stride in (0, 6):
        with pytest.raises(ValueError, match="`stride`"):
            windows(path, Spec(num_frames=5), 0, stride=stride)
    with pytest.raises(FileNotFoundError):
        windows(tmp_path / "b", Spec(), 0)
    assert len(windows(path, Spec(num_frames=5), 0)) == 1
    with pytest.raises(IndexError):
        windows(path, Spec(num_frames=5), 0)[1]
    found = windows(path, Spec(num_frames=2), 0)
    (path / "00003.png").write_bytes(b"no picture")
    assert [number(f) for f in found[0].clip] == [0, 1]
    with pytest.raises(ValueError, match=r"00003\.png"):
        found[2]
    assert [number(f) for f in found[1].clip] == [1, 2]  # And it recovers.
    for _ in range(2):
        with pytest.raises(ValueError, match=r"00003\.png"):
            found[3]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_stitch_is_the_mean_over_windows(dtype):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 3, 5, 7)).astype(dtype)
    starts = [0, 2, 3, 8]
    expected = np.full((12, 5, 7), np.nan)
    for t in range(12):
        own = [m[t - s] for m, s in zip(maps, starts) if s <= t < s + 3]
        if own:
            expected[t] = np.mean(np.asarray(own, np.float64), 0)
    for given in (maps, iter(maps)):
        got = stitch(given, starts, 12)
        assert got.dtype == (np.float64 if dtype == np.float64 else np.float32)
        np.testing.assert_allclose(
            got, expected, rtol=1e-6 if dtype != np.float64 else 1e-15
        )
    assert np.isnan(got).all((1, 2)).tolist() == [False] * 6 + [True] * 2 + [
        *[False] * 3,
        True,
    ]


def test_cutting_and_stitching_is_the_identity():
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(11, 2, 3)).astype(np.float32)
    starts = np.array([0, 4, 8, 7])
    maps = [whole[s : s + 3] for s in starts]
    got = stitch(maps, starts, 11)
    covered = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    np.testing.assert_allclose(got[covered], whole[covered], rtol=1e-6)


@pytest.mark.parametrize(
    ("maps", "starts", "match"),
    [
        ([], [], "`maps`"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], [0, 1], "`maps`"),
        ([np.zeros((2, 3))], [4], "`starts`"),
        ([np.zeros((2, 3))], [-1], "`starts`"),
        ([np.zeros((2, 3))], [0, 1], "`maps`"),
        ([np.zeros((2, 3))] * 2, [0], "`maps`"),
    ],
)
def test_stitch_errors(maps, starts, match):
    with pytest.raises(ValueError, match=match):
        stitch(maps, starts, 5)
