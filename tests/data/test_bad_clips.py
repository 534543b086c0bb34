"""Bad files and arguments end in an error that names them, never in a crash."""

import struct
import sys
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from numbered_video import Spec, number, picture, write_video

from jaxattr.data import read_clip

Image = pytest.importorskip("PIL.Image")


def save_frames(folder, count, suffix="png", size=(48, 80), first=0):
    folder.mkdir(exist_ok=True)
    for i in range(first, first + count):
        Image.fromarray(picture(i, size)).save(folder / f"{i}.{suffix}")
    return folder


def test_missing_empty_and_odd_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`path`.*nowhere\.mp4"):
        read_clip(tmp_path / "nowhere.mp4", Spec())
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ValueError, match=r"`path`.*empty\.mp4.*is an empty file"):
        read_clip(tmp_path / "empty.mp4", Spec())
    with pytest.raises(TypeError, match="`path`"):
        read_clip(["a.mp4"], Spec())
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_clip("/dev/null", Spec())


def not_videos(folder):
    (folder / "text.mp4").write_text("hello\n" * 1000)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    Image.fromarray(picture(0)).save(folder / "image.png")
    (folder / "image.png").rename(folder / "image.mp4")
    with zipfile.ZipFile(folder / "zip.mp4", "w") as archive:
        archive.writestr("a.mp4", b"hello" * 1000)
    (folder / "text.gif").write_text("hello\n" * 1000)


@pytest.mark.parametrize(
    "name", ["text.mp4", "noise.mp4", "image.mp4", "zip.mp4", "text.gif"]
)
def test_what_is_not_a_video_is_refused(tmp_path, name):
    not_videos(tmp_path)
    with pytest.raises(ValueError, match=f"`path`.*{name}"):
        read_clip(tmp_path / name, Spec())


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile real.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nreal.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nm=video 9 RTP/AVP 96\n",
    ],
)
def test_playlists_do_not_open_other_files(tmp_path, text):
    write_video(tmp_path / "real.mp4", 12)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(ValueError, match=r"`path`.*list\.mp4"):
        read_clip(tmp_path / "list.mp4", Spec())


def test_names_are_not_protocols_or_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", 6).rename(tmp_path / "concat:b|c %03d.mp4")
    assert number(read_clip("concat:b|c %03d.mp4", Spec())[5]) == 5


def test_sound_without_pictures_is_refused(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match=r"`path`.*has no video stream"):
        read_clip(tmp_path / "a.mp4", Spec())


def test_too_few_frames(tmp_path):
    path = write_video(tmp_path / "a.mp4", 5)
    with pytest.raises(ValueError, match=r"a\.mp4.*needs 6.*are 5.*`short='stretch'`"):
        read_clip(path, Spec())
    save_frames(tmp_path / "frames", 5)
    for sampling in ("uniform", "long_range_last", "dense", "centre"):
        with pytest.raises(ValueError, match=r"frames.*needs 6.*are 5"):
            read_clip(tmp_path / "frames", Spec(), sampling=sampling)


@pytest.mark.parametrize(
    ("argument", "setting"),
    [
        ("frames", {"frames": []}),
        ("frames", {"frames": [0, -1]}),
        ("frames", {"frames": [0, 12]}),
        ("frames", {"frames": [0.0, 1.0]}),
        ("frames", {"frames": [True, False]}),
        ("frames", {"frames": 3}),
        ("sampling", {"sampling": "center"}),
        ("short", {"short": "pad"}),
        ("start", {"start": 2}),
        ("start", {"start": -1, "sampling": "dense"}),
        ("start", {"start": 1.5, "sampling": "dense"}),
        ("start", {"start": 12, "sampling": "dense"}),
        ("start", {"start": 1, "sampling": "dense", "frames": [1]}),
        ("fps", {"fps": 15}),
        ("box", {"box": (0, 0, 49, 80)}),
        ("crop", {"crop": (1, 0)}),
    ],
)
def test_bad_arguments_are_named(tmp_path, argument, setting):
    path = write_video(tmp_path / "a.mp4", 12)
    with pytest.raises(ValueError, match=f"`{argument}`"):
        read_clip(path, Spec(), **setting)


def test_bad_specs_are_named(tmp_path):
    folder = save_frames(tmp_path / "a", 6)
    with pytest.raises(TypeError, match=r"`spec`.*int has no.*num_frames"):
        read_clip(folder, 3)
    with pytest.raises(ValueError, match=r"`spec`.*three channels"):
        read_clip(folder, Spec(mean=(0.5,), std=(1.0,)))
    with pytest.raises(ValueError, match=r"channel_order.*'gbr'"):
        read_clip(folder, Spec(channel_order="gbr"))
    with pytest.raises(ValueError, match="not finite"):
        read_clip(folder, Spec(mean=(0.0, float("nan"), 0.0)))
    with pytest.raises(ValueError, match="`fps`"):
        read_clip(folder, Spec(), fps=0)


def test_bad_folders(tmp_path):
    folder = save_frames(tmp_path / "other", 5)
    save_frames(folder, 1, size=(48, 79), first=5)
    with pytest.raises(ValueError, match=r"other.*frame 5 is 48x79.*frame 0 is 48x80"):
        read_clip(folder, Spec())
    folder = save_frames(tmp_path / "mixed", 6)
    save_frames(folder, 6, "jpg")
    with pytest.raises(ValueError, match=r"mixed.*JPEG, PNG"):
        read_clip(folder, Spec())
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"none.*without frames.*nothing"):
        read_clip(tmp_path / "none", Spec())
    (tmp_path / "none" / "movie.mp4").touch()
    with pytest.raises(ValueError, match=r"without frames.*movie\.mp4"):
        read_clip(tmp_path / "none", Spec())
    folder = save_frames(tmp_path / "broken", 6)
    data = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cannot decode.*3\.png"):
        read_clip(folder, Spec())
    Image.fromarray(picture(3)).save(folder / "3.eps")
    (folder / "3.eps").rename(folder / "3.png")  # Would be given to Ghostscript to run.
    with pytest.raises(ValueError, match=r"cannot decode.*cannot identify.*3\.png"):
        read_clip(folder, Spec())
    Image.fromarray(np.zeros((48, 80), np.float32)).save(folder / "3.tiff")
    (folder / "3.tiff").rename(tmp_path / "3.tiff")
    for file in folder.iterdir():
        file.unlink()
    (tmp_path / "3.tiff").rename(folder / "3.tiff")
    with pytest.raises(ValueError, match=r"3\.tiff.*mode 'F'"):
        read_clip(folder, Spec(num_frames=1))


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_decompression_bombs_are_refused(tmp_path, side):
    folder = save_frames(tmp_path / "a", 1)
    data = bytearray((folder / "0.png").read_bytes())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (folder / "0.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"cannot decode.*0\.png.*bomb"):
        read_clip(folder, Spec(num_frames=1))


def test_videos_that_claim_too_much_are_refused(tmp_path, monkeypatch):
    from jaxattr.data import _video

    path = write_video(tmp_path / "a.mp4", 6)
    monkeypatch.setattr(_video, "_MAX_PIXELS", 48 * 80 - 1)
    with pytest.raises(ValueError, match=r"a\.mp4.*claims frames of 48x80"):
        read_clip(path, Spec())


def test_clocks_that_jump_far_ahead_cost_nothing(tmp_path):
    times = [*range(0, 400, 40), 4_000_000_000]  # Milliseconds: 46 days.
    path = write_video(tmp_path / "a.mkv", 11, fps=25, times=times)
    clip = read_clip(path, Spec(fps=15.0))
    assert {number(frame) for frame in clip} <= {9, 10}


def outcome(path, whole, spec):
    """What comes of a damaged file: "error", "warning", or "silent"."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            clip = read_clip(path, spec)
        except ValueError as error:
            assert path.name in str(error)  # noqa: PT017
            return "error"
    assert np.isfinite(clip).all()
    assert clip.shape == whole.shape
    if caught:
        assert all(path.name in str(w.message) for w in caught)
        assert all("truncated or damaged" in str(w.message) for w in caught)
        return "warning"
    return "silent"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tail.mp4", {}),
        ("front.mp4", {"options": {"movflags": "faststart"}, "bf": "2", "g": "12"}),
        ("a.mkv", {"g": "12"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.gif", None),
    ],
)
def test_truncated_files_give_an_error_or_a_warning(tmp_path, name, options):
    path, spec = tmp_path / name, Spec(sampling="uniform")
    if options is None:
        images = [Image.fromarray(picture(i)) for i in range(40)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=50)
    else:
        write_video(path, 40, **options)
    data = path.read_bytes()
    whole = read_clip(path, spec)
    found = []
    for length in np.linspace(1, len(data) - 1, 60).astype(int):
        path.write_bytes(data[:length])
        found.append(outcome(path, whole, spec))
    assert found[0] == "error"
    if name == "tail.mp4":  # Its table of contents is at the end.
        assert set(found[:-6]) == {"error"}
    else:
        assert "warning" in found
        # Silent: cut after the last frame but one, where nothing else is lost.
        assert "silent" not in found[:-8], found


def test_flipped_bytes_never_crash(tmp_path):
    rng = np.random.default_rng(0)
    path, spec = tmp_path / "a.mp4", Spec(sampling="uniform")
    write_video(path, 24, options={"movflags": "faststart"}, g="8")
    data, whole = path.read_bytes(), read_clip(path, spec)
    for _ in range(60):
        bad = bytearray(data)
        for place in rng.integers(0, len(data), 5):
            bad[place] = rng.integers(0, 256)
        path.write_bytes(bad)
        outcome(path, whole, spec)


def test_nothing_is_written(tmp_path):
    path = write_video(tmp_path / "a.mp4", 6)
    before = path.read_bytes(), sorted(tmp_path.iterdir())
    read_clip(path, Spec(), return_source=True)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize(("module", "name"), [("av", "a.mp4"), ("PIL.Image", "frames")])
def test_missing_decoders_name_the_extra(tmp_path, monkeypatch, module, name):
    write_video(tmp_path / "a.mp4", 6)
    save_frames(tmp_path / "frames", 6)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'jaxattr\[video\]'"):
        read_clip(tmp_path / name, Spec())
