"""The real clips: frame counts, their pictures, and a trained network's input."""

import json
import warnings

import numpy as np
import pytest
from numbered_video import Spec
from published import write_table

from jaxattr.data import from_csv, read_clip

Image = pytest.importorskip("PIL.Image")

COUNTS = {
    "ucf101_ApplyEyeMakeup.avi": (164, 25, (240, 320)),
    "k400_arm_wrestling.mp4": (280, 28, (256, 340)),
    "k400_cleaning_pool.mp4": (300, 30, (256, 340)),
    "k400_flipping_pancake.mkv": (310, 30, (240, 426)),
}
GUITARS = {
    "x_playing_guitar_a": "frames/k400_playing_guitar_wFWTW0q57ms",
    "x_playing_guitar_b": "frames/k400_playing_guitar_2enXX9xrIp0",
    "x_playing_bass_guitar": "frames/k400_playing_bass_guitar_JVAwfvQUlwA",
}
LRCN = Spec(
    num_frames=20,
    size=(64, 64),
    channel_order="bgr",
    sampling="uniform",
    short="stretch",
)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_frames_of_real_videos(shared_clips, name):
    av = pytest.importorskip("av")
    path = shared_clips / "videos" / name
    count, fps, size = COUNTS[name]
    with av.open(str(path)) as container:  # One thread, one pass, another call.
        container.streams.video[0].thread_type = "NONE"
        frames = [
            frame.to_image() if i in (0, count - 1) else None
            for i, frame in enumerate(container.decode(video=0))
        ]
    assert len(frames) == count
    spec = Spec(num_frames=2, sampling="uniform")
    clip, source = read_clip(path, spec, return_source=True)
    assert source.indices.tolist() == [0, count - 1]
    assert source.frames.shape == (2, *size, 3)
    np.testing.assert_array_equal(source.frames[0], np.asarray(frames[0]))
    np.testing.assert_array_equal(source.frames[1], np.asarray(frames[-1]))
    np.testing.assert_allclose(source.times, [0, (count - 1) / fps], atol=0.05)
    assert np.isfinite(clip).all()
    with pytest.raises(ValueError, match=f"has {count}|last of its {count} frames"):
        read_clip(path, spec, frames=[count])


@pytest.mark.parametrize("name", COUNTS)
def test_kinetics_sampling_of_real_videos(shared_clips, name):
    pytest.importorskip("av")
    count, fps, _ = COUNTS[name]
    spec = Spec(num_frames=16, size=(112, 112), resize=(128, 171), fps=15.0)
    path = shared_clips / "videos" / name
    _, source = read_clip(path, spec, return_source=True)
    first = (count - 16 * fps / 15) / 2
    expected = np.floor(first + np.arange(16) * fps / 15 + 0.25)
    np.testing.assert_array_equal(source.indices, expected)


@pytest.mark.parametrize("name", ["R2Plus1D_18_Weights", "MC3_18_Weights"])
def test_kinetics_preprocessing_is_that_of_torchvision(shared_clips, name):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models.video")
    folder = shared_clips / "frames" / "k400_ironing_3sEk_w2T8Fw"
    weights = getattr(models, name)
    frames = np.stack([np.asarray(Image.open(f)) for f in sorted(folder.iterdir())])
    expected = weights.KINETICS400_V1.transforms()(
        torch.tensor(frames).permute(0, 3, 1, 2)
    ).permute(1, 2, 3, 0)
    spec = Spec(
        num_frames=16,
        size=(112, 112),
        resize=(128, 171),
        scale=1 / 255,
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
    )
    clip = read_clip(folder, spec)
    difference = np.abs(clip - expected.numpy())
    assert difference.max() < 1.01 / 255 / 0.216989  # One grey level, where halves
    assert (difference > 1e-5).mean() < 5e-3  # are rounded after sums in other order.


def test_input_of_the_trained_lrcn(shared_clips, shared_weights):
    golden = np.load(shared_weights / "ucf50_4cls_golden.npz", allow_pickle=False)
    for name, place in GUITARS.items():
        clip, source = read_clip(shared_clips / place, LRCN, return_source=True)
        expected = np.round(np.linspace(0, 15, 20))
        np.testing.assert_array_equal(source.indices, expected)
        difference = np.abs(clip - golden[name])
        assert difference.mean() < 0.1
        assert difference.max() <= 1
    gif = shared_clips / "gifs" / "ucf101_WalkingWithDog_g06_c05_16f.gif"
    clip = read_clip(gif, LRCN, box=(6, 6, 294, 294))
    difference = np.abs(clip - golden["x_walking_with_dog"])
    assert difference.mean() < 0.1
    assert difference.max() <= 1


def test_real_gifs_match_another_decoder(shared_clips):
    av = pytest.importorskip("av")
    for path in sorted((shared_clips / "gifs").iterdir()):
        with av.open(str(path)) as container:
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        spec = Spec(num_frames=len(frames), sampling="dense")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _, source = read_clip(path, spec, return_source=True)
        np.testing.assert_array_equal(source.frames, frames)


def test_real_clips_through_a_table_have_their_boxes(shared_clips, tmp_path):
    """Also those of GIFs whose picture lies within a border, which boxes leave out."""
    known = json.loads((shared_clips / "boxes.json").read_text())["clips"]
    rows = []
    for name, clip in known.items():
        place = shared_clips / ("gifs" if name.endswith("gif") else "frames") / name
        region = "[6, 6, 294, 294]" if name.endswith("gif") else ""
        boxes = json.dumps(clip["boxes"])
        rows.append(
            {"path": place, "target": 0, "name": name, "boxes": boxes, "region": region}
        )
    write_table(tmp_path / "clips.csv", rows)
    spec = Spec(num_frames=16, size=(64, 48))
    for sample in from_csv(tmp_path, spec):
        for got, box in zip(sample.boxes, known[sample.name]["boxes"], strict=True):
            if box is None:
                assert np.isnan(got).all()
                continue
            x0, y0, x1, y1 = np.array(box) * [48, 64, 48, 64]
            expected = np.floor(y0), np.floor(x0), np.ceil(y1), np.ceil(x1)
            np.testing.assert_array_equal(got, np.clip(expected, 0, [63, 47] * 2))
