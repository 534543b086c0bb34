"""The right frames of a video, at the right times, as the network wants them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numbered_video import Spec, number, picture, write_video

from jaxattr.data import read_clip

Image = pytest.importorskip("PIL.Image")


def numbers(frames):
    return [number(frame) for frame in frames]


def centre(n, video_fps, fps, count):
    """On screen at (D - T / fps) / 2 + i / fps, in exact arithmetic."""
    ratio = Fraction(video_fps) / Fraction(fps)
    first = (n - count * ratio) / 2
    return [math.floor(first + i * ratio + Fraction(1, 4)) for i in range(count)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(("n", "video_fps"), [(61, 30), (44, 25), (40, 24), (23, 10)])
def test_centre_samples_at_the_fps_of_the_spec(tmp_path, n, video_fps, suffix):
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = write_video(tmp_path / f"a.{suffix}", n, fps=video_fps, codec=codec)
    expected = centre(n, video_fps, 15, 16)
    clip, source = read_clip(path, Spec(num_frames=16, fps=15.0), return_source=True)
    assert source.indices.tolist() == expected
    assert numbers(source.frames) == expected
    assert numbers(clip) == expected
    np.testing.assert_allclose(
        source.times, np.array(expected) / video_fps, atol=0.6e-3
    )


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"sampling": "centre"}, range(14, 20)),
        ({"sampling": "uniform"}, [0, 7, 13, 20, 26, 33]),
        ({"sampling": "long_range_last"}, [5, 10, 15, 20, 25, 30]),  # r = 34 // 6.
        ({"sampling": "dense"}, range(6)),
        ({"sampling": "dense", "start": 28}, range(28, 34)),
        ({"frames": [33, 0, 7, 7]}, [33, 0, 7, 7]),
        ({"frames": np.array([3, 9], np.int32)}, [3, 9]),
    ],
)
def test_samplings_of_own_frames(tmp_path, setting, expected):
    path = write_video(tmp_path / "a.mp4", 34, fps=20)
    clip, source = read_clip(path, Spec(), return_source=True, **setting)
    assert numbers(clip) == list(expected)
    assert numbers(source.frames) == list(expected)
    np.testing.assert_allclose(source.times, np.array(expected) / 20, atol=1e-6)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_goes_by_the_clock(tmp_path, suffix):
    steps = [20] * 20 + [100] * 8 + [40] * 11 + [20]  # Milliseconds.
    times = np.cumsum([0, *steps])[:-1]
    path = write_video(tmp_path / f"v.{suffix}", 40, fps=50, times=times.tolist())
    clip, source = read_clip(path, Spec(num_frames=9, fps=8.0), return_source=True)
    duration = times[-1] + 20  # The middle, by the clock, is not frame 20.
    wanted = (duration - 9 * 125) / 2 + np.arange(9) * 125
    expected = [max(i for i, t in enumerate(times) if t <= w + 5) for w in wanted]
    assert numbers(clip) == expected
    np.testing.assert_allclose(source.times, times[expected] / 1000, atol=1e-6)


def test_times_swapped_by_avi_are_put_right(tmp_path):
    path = write_video(tmp_path / "a.avi", 30, fps=25, codec="mpeg4", bf="2")
    spec = Spec(num_frames=30, sampling="dense")
    clip, source = read_clip(path, spec, return_source=True)
    assert numbers(clip) == list(range(30))
    np.testing.assert_allclose(source.times, np.arange(30) / 25, atol=1e-9)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"short": "stretch"}, [0, 1, 1, 2, 2, 3]),  # round(linspace(0, 3, 6)).
        ({"short": "loop"}, [0, 1, 2, 3, 0, 1]),
        ({"short": "loop", "sampling": "uniform"}, [0, 1, 2, 3, 0, 1]),
        (
            {"short": "stretch", "sampling": "dense", "start": 1},
            [1, 1, 2, 2, 3, 3],  # round half to even of linspace(0, 2, 6).
        ),
    ],
)
def test_short_videos_are_filled_up(tmp_path, setting, expected):
    path = write_video(tmp_path / "a.mp4", 4)
    assert numbers(read_clip(path, Spec(), **setting)) == expected


def test_short_at_a_lower_rate_loops_what_the_rate_leaves(tmp_path):
    path = write_video(tmp_path / "a.mp4", 8, fps=30)
    spec = Spec(fps=15.0)  # Eight frames are four at 15 per second.
    assert numbers(read_clip(path, spec, short="loop")) == [0, 2, 4, 6, 0, 2]
    assert numbers(read_clip(path, spec, short="stretch")) == [0, 1, 3, 4, 6, 7]
    with pytest.raises(ValueError, match=r"needs 6 at 15 frames per second.* 4"):
        read_clip(path, spec)


@pytest.mark.parametrize(
    ("codec", "pixels", "size", "tolerance"),
    [
        ("libx264", "yuv420p", (48, 80), 8),
        ("libx264", "yuv420p10le", (48, 80), 8),
        ("libx264", "yuv444p", (47, 81), 8),
        # At 46x70 the test's own writer, FFmpeg's conversion, now and then spoils rows.
        ("ffv1", "yuv420p10le", (48, 80), 4),
        ("ffv1", "gray", (45, 77), 0),
        ("ffv1", "gray16le", (45, 77), 1),
        ("ffv1", "bgr0", (45, 77), 0),
    ],
)
def test_kinds_of_pixels_become_rgb(tmp_path, codec, pixels, size, tolerance):
    path = write_video(tmp_path / "a.mkv", 7, size=size, codec=codec, pixels=pixels)
    clip, source = read_clip(path, Spec(num_frames=7), return_source=True)
    expected = np.stack([picture(i, size) for i in range(7)])
    assert source.frames.dtype == np.uint8
    assert source.frames.shape == (7, *size, 3)
    inner = np.abs(source.frames.astype(int) - expected)[:, 4:-4, 4:9]
    assert inner.max() <= tolerance
    assert numbers(clip) == list(range(7))


@pytest.mark.parametrize(("turns", "matrix"), [
    (3, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (1, (0, -1, 1, 0)),
])  # fmt: skip
def test_rotation_metadata_is_honoured(tmp_path, turns, matrix):
    path = write_video(tmp_path / "a.mp4", 6)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # Version 0: the matrix after 40 bytes.
    a, b, c, d = (int(m * 65536).to_bytes(4, "big", signed=True) for m in matrix)
    zero = bytes(4)
    data[place : place + 24] = a + b + zero + c + d + zero
    path.write_bytes(data)
    _, source = read_clip(path, Spec(), return_source=True)
    shown = np.rot90(picture(5), turns)  # A phone held upright: 90 degrees clockwise.
    assert source.frames.shape[1:] == shown.shape
    assert np.abs(source.frames[5].astype(int) - shown).mean() < 6


def test_units_and_channel_order_of_the_spec(tmp_path):
    for i in range(3):
        Image.fromarray(np.full((9, 7, 3), (10, 20, 30 + i), np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    spec = Spec(
        num_frames=3,
        size=(4, 5),
        scale=1 / 255,
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.25, 2.0),
        channel_order="bgr",
    )
    clip = read_clip(tmp_path, spec)
    assert clip.dtype == np.float32
    assert clip.shape == (3, 4, 5, 3)
    expected = [(32 / 255 - 0.1) / 0.5, (20 / 255 - 0.2) / 0.25, (10 / 255 - 0.3) / 2]
    np.testing.assert_allclose(clip[2, 1, 1], expected, rtol=1e-6)


def test_folder_is_in_natural_order_and_ignores_other_files(tmp_path):
    for i in range(12):
        Image.fromarray(picture(i)).save(tmp_path / f"frame{i}.png")
    (tmp_path / ".frame3.png").write_bytes(b"hidden")
    (tmp_path / "notes.txt").write_text("hello")
    clip, source = read_clip(tmp_path, Spec(num_frames=12), return_source=True)
    assert numbers(clip) == list(range(12))
    assert np.isnan(source.times).all()
    assert source.path == str(tmp_path)
    np.testing.assert_array_equal(source.frames[7], picture(7))


def test_fps_gives_a_folder_a_clock(tmp_path):
    for i in range(30):
        Image.fromarray(picture(i)).save(tmp_path / f"{i}.png")
    spec = Spec(fps=15.0)
    assert numbers(read_clip(tmp_path, spec)) == list(range(12, 18))
    clip, source = read_clip(tmp_path, spec, fps=30, return_source=True)
    assert numbers(clip) == [9, 11, 13, 15, 17, 19]
    np.testing.assert_allclose(source.times, source.indices / 30)


def test_symbolic_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    write_video(tmp_path / "real" / "a.mp4", 6)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "a.mp4")
    (tmp_path / "frames").mkdir()
    for i in range(6):
        Image.fromarray(picture(i)).save(tmp_path / "real" / f"{i}.png")
        (tmp_path / "frames" / f"{i}.png").symlink_to(tmp_path / "real" / f"{i}.png")
    assert numbers(read_clip(tmp_path / "link.mp4", Spec())) == list(range(6))
    assert numbers(read_clip(str(tmp_path / "frames"), Spec())) == list(range(6))


def _modes(grey):
    """The same ramp in each kind of picture, and the RGB it stands for."""
    rgb = np.repeat(grey[..., None], 3, axis=2)
    alpha = np.full_like(grey, 128)
    on_black = np.round(rgb * (128 / 255))
    sixteen = grey.astype(np.uint16) * 257
    return {
        "grey": (Image.fromarray(grey), rgb),
        "grey 16": (Image.fromarray(sixteen), rgb),
        "grey alpha": (Image.fromarray(np.dstack([grey, alpha])), on_black),
        "rgba": (Image.fromarray(np.dstack([rgb, alpha])), on_black),
        "palette": (Image.fromarray(rgb).convert("P", palette=1, colors=256), rgb),
    }


@pytest.mark.parametrize("kind", ["grey", "grey 16", "grey alpha", "rgba", "palette"])
def test_kinds_of_pictures_become_rgb(tmp_path, kind):
    grey = (np.arange(9 * 7).reshape(9, 7) * 4).astype(np.uint8)
    image, expected = _modes(grey)[kind]
    image.save(tmp_path / "a.png")
    _, source = read_clip(tmp_path, Spec(num_frames=1), return_source=True)
    assert np.abs(source.frames[0] - expected).max() <= 1


def test_exif_orientation_is_honoured(tmp_path):
    upright = picture(0b10010011)
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn 90 degrees clockwise to show.
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    turned.save(tmp_path / "a.jpg", exif=exif, quality=95)
    _, source = read_clip(tmp_path, Spec(num_frames=1), return_source=True)
    assert source.frames.shape == (1, *upright.shape)
    assert number(source.frames[0]) == 0b10010011


@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_gif_frames_are_composed(tmp_path, disposal):
    av = pytest.importorskip("av")
    frames = []
    for i in range(8):  # A block that moves: only part of each frame is stored.
        pixels = np.full((31, 43, 3), 255, np.uint8)
        pixels[3 + 2 * i : 9 + 2 * i, 4 + 4 * i : 12 + 4 * i] = (250, 10 * i, 30)
        frames.append(Image.fromarray(pixels).quantize(16))
    path = tmp_path / "a.gif"
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=[70, 50, 0, 120, 50, 50, 50, 50],
        disposal=disposal,
    )
    with av.open(str(path)) as container:  # FFmpeg composes GIFs by its own code.
        expected = [f.to_ndarray(format="rgba") for f in container.decode(video=0)]
    clip, source = read_clip(path, Spec(num_frames=8), return_source=True)
    assert clip.shape == (8, 20, 28, 3)
    for frame, other in zip(source.frames, expected):
        np.testing.assert_array_equal(frame, other[..., :3])
    np.testing.assert_allclose(
        source.times, [0, 0.07, 0.12, 0.22, 0.34, 0.39, 0.44, 0.49]
    )


def test_box_then_resize_then_crop(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    spec = Spec(num_frames=1, size=(10, 11), resize=(20, 30))
    whole = read_clip(tmp_path, spec)
    Image.fromarray(np.pad(pixels, ((3, 4), (5, 6), (0, 0)))).save(tmp_path / "a.png")
    boxed, source = read_clip(
        tmp_path, spec, box=(3, 5, 40, 58), crop=(5, 10), return_source=True
    )
    assert source.frames.shape == (1, 44, 64, 3)
    assert source.geometry == ((44, 64), (3, 5, 40, 58), (20, 30), (5, 10), (10, 11))
    corner = read_clip(tmp_path, spec, box=(3, 5, 40, 58))
    np.testing.assert_array_equal(corner, whole)
    full = read_clip(tmp_path, Spec(num_frames=1, size=(20, 30)), box=(3, 5, 40, 58))
    np.testing.assert_array_equal(boxed, full[:, 5:15, 10:21])


@pytest.mark.parametrize("most", [255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["pgm", "ppm", "png"])
def test_frames_of_more_than_8_bits_are_scaled_to_8(tmp_path, kind, most):
    rng = np.random.default_rng(0)
    channels = 3 if kind == "ppm" else 1
    pixels = rng.integers(0, most + 1, (31, 43, channels))
    pixels[0, 0], pixels[0, 1] = 0, most
    if kind == "png":  # Always of 16 bits, all of them used.
        pixels, most = (pixels * (65535 / most)).astype(np.uint16), 65535
        Image.fromarray(pixels[..., 0]).save(tmp_path / "0.png")
    else:  # Written by hand: one byte for a sample, two (most significant first) above.
        magic = b"P6" if kind == "ppm" else b"P5"
        data = pixels.astype("u1" if most < 256 else ">u2").tobytes()
        (tmp_path / f"0.{kind}").write_bytes(magic + b" 43 31 %d\n" % most + data)
    _, source = read_clip(tmp_path, Spec(num_frames=1), return_source=True)
    got = source.frames[0].astype(float)
    # Rounded by one library and cut off by another: never a whole level away.
    assert np.abs(got - pixels / most * 255).max() < 1
    assert got[0, 0, 0] == 0
    assert got[0, 1, 0] == 255
