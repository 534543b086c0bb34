"""Segments of a clip: labels in range, regions of one colour, regular tubes."""

import subprocess
import sys

import numpy as np
import pytest
from skimage.segmentation import slic

from jaxattr.data import supervoxels

SHAPE = (5, 24, 30, 3)
NOISE = np.random.default_rng(0).normal(size=SHAPE)


@pytest.mark.parametrize("kind", ["slic", "grid"])
@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("num", [5, 12, 64])
def test_labels_are_in_range_and_all_occur(kind, per_frame, num):
    labels = supervoxels(NOISE, num, kind=kind, per_frame=per_frame)
    assert labels.dtype == np.int32
    assert labels.shape == SHAPE[:3]
    found = np.unique(labels)
    np.testing.assert_array_equal(found, np.arange(len(found)))
    assert len(found) <= num
    if per_frame:
        of_frame = [set(np.unique(frame)) for frame in labels]
        assert sum(map(len, of_frame)) == len(found)


def test_slic_is_that_of_scikit_image_whatever_the_scale_of_the_clip():
    clip = np.zeros(SHAPE)
    clip[:, 6:15, 8:20] = (1, 0.5, 0.2)  # One coloured tube on black.
    labels = supervoxels(clip * 7 - 3, 12, frame_distance=2.0)
    want = slic(clip, 12, compactness=10, spacing=(2, 1, 1), sigma=0.8, channel_axis=-1)
    pairs = np.unique(np.stack([labels.ravel(), want.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(want)) > 1
    inside = clip[..., 0] > 0

    def crossing(labels):  # Share of voxels on the wrong side of the tube's edge.
        parts = [inside[labels == n] for n in range(labels.max() + 1)]
        return sum(min(p.sum(), (~p).sum()) for p in parts) / inside.size

    assert crossing(labels) < 0.5 * crossing(supervoxels(clip, 12, kind="grid"))


def test_a_frame_that_counts_for_more_makes_shorter_segments():
    def spans(distance):
        labels = supervoxels(NOISE, 30, frame_distance=distance)
        return np.mean(
            [np.ptp(np.nonzero(labels == n)[0]) for n in range(labels.max() + 1)]
        )

    assert spans(20.0) < spans(0.05)


def test_a_grid_of_tubes():
    labels = supervoxels(np.zeros((4, 6, 9, 1)), 8, kind="grid")
    t, y, x = np.indices((4, 6, 9))
    np.testing.assert_array_equal(labels, 4 * (t // 2) + 2 * (y // 3) + x * 2 // 9)
    assert supervoxels(np.zeros((4, 100, 2, 1)), 64, kind="grid").max() == 63
    assert supervoxels(np.zeros((4, 6, 9, 1)), 1, kind="grid").max() == 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"num_segments": 0}, "num_segments"),
        ({"kind": "felzenszwalb"}, "kind"),
        ({"num_segments": 4, "per_frame": True}, "num_segments"),
        ({"compactness": 0}, "compactness"),
        ({"sigma": -1.0}, "sigma"),
        ({"frame_distance": "far"}, "frame_distance"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        supervoxels(NOISE, **settings)


def test_bad_clips_are_named():
    for clip in (NOISE[0], np.full(SHAPE, np.nan)):
        with pytest.raises(ValueError, match="`clip`"):
            supervoxels(clip)


def test_without_scikit_image_the_extra_is_named():
    code = (
        "import sys\n"
        "sys.modules['skimage.segmentation'] = None\n"
        "import numpy as np, jaxattr\n"
        "jaxattr.data.supervoxels(np.ones((2, 3, 4, 1)), kind='grid')\n"
        "try: jaxattr.data.supervoxels(np.ones((2, 3, 4, 1)))\n"
        "except ImportError as error: assert 'jaxattr[data]' in str(error), error\n"
        "else: raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
