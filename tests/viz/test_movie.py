import av
import numpy as np
import pytest
from PIL import Image

from jaxattr.viz import save_gif, save_mp4


def _smooth(height, width):
    """Frames that survive compression: colours that drift over time and space."""
    t, y, x = np.mgrid[:6, :height, :width]
    frames = np.stack([40 + 30 * t, 60 + y, 90 + x], -1)
    return np.clip(frames, 0, 255).astype(np.uint8)


def test_gif_decodes_to_the_same_frames(tmp_path):
    frames = _smooth(21, 35)
    save_gif(tmp_path / "a.gif", frames, fps=12.5)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 6
        assert image.info["loop"] == 0
        for t, frame in enumerate(frames):
            image.seek(t)
            assert image.info["duration"] == 80
            got = np.asarray(image.convert("RGB")).astype(int)
            # 735 pixels with more colours than 256: near, not equal.
            assert np.abs(got - frame).mean() < 6


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_mp4_decodes_to_the_same_frames(tmp_path, size):
    frames = _smooth(*size)
    save_mp4(tmp_path / "a.mp4", frames, fps=7.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == 7.5
        got = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
    assert len(got) == 6
    assert got[0].shape == (48, 64, 3)  # Odd sizes are padded by one.
    for picture, frame in zip(got, frames):
        cut = picture[: size[0], : size[1]].astype(int)
        assert np.abs(cut - frame).mean() < 4


def test_mp4_starts_before_it_is_all_there(tmp_path):
    save_mp4(tmp_path / "a.mp4", _smooth(48, 64), fps=8)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_one_frame_is_enough(tmp_path):
    frame = _smooth(16, 16)[:1]
    save_mp4(tmp_path / "a.mp4", frame, fps=8)
    save_gif(tmp_path / "a.gif", frame, fps=8)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert len(list(container.decode(video=0))) == 1


@pytest.mark.parametrize("save", [save_gif, save_mp4])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(tmp_path, monkeypatch, save, error):
    path = tmp_path / f"a.{save.__name__[-3:]}"
    path.write_bytes(b"before")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("PIL.Image.Image.save", fail)
    monkeypatch.setattr("av.VideoFrame.from_ndarray", fail, raising=False)
    with pytest.raises(error):
        save(path, _smooth(16, 16), fps=8)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("save", [save_gif, save_mp4])
def test_bad_input_names_the_argument(tmp_path, save):
    with pytest.raises(ValueError, match="`fps`"):
        save(tmp_path / "a.bin", _smooth(16, 16), fps=0)
    with pytest.raises(ValueError, match="`frames`"):
        save(tmp_path / "a.bin", _smooth(16, 16) / 255, fps=8)
    with pytest.raises(FileNotFoundError, match="`path`"):
        save(tmp_path / "no" / "a.bin", _smooth(16, 16), fps=8)
    assert not list(tmp_path.iterdir())
