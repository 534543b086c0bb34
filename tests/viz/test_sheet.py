import numpy as np
import pytest
from PIL import Image

from jaxattr.viz import contact_sheet, overlay, save_png


def _flat(num_frames):
    """Frames of one grey each, so that a cell tells which frame it is."""
    levels = (40 + 8 * np.arange(num_frames)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, 10, 12, 3)).copy()


def _cells(picture, level):
    """Whether some 60x60 block of the sheet has exactly this colour."""
    same = (np.asarray(picture) == level).all(-1)
    return any(
        same[y : y + 60, x : x + 60].all()
        for y in range(0, same.shape[0] - 60, 20)
        for x in range(0, same.shape[1] - 60, 20)
    )


def test_columns_spread_evenly_over_the_clip():
    rgb = _flat(16)
    sheet = contact_sheet(rgb, {}, num_columns=4)
    shown = [t for t in range(16) if _cells(sheet, rgb[t, 0, 0])]
    assert shown == [0, 5, 10, 15]


def test_a_row_holds_the_overlay():
    rgb = _flat(2)
    heat = np.full((2, 10, 12), 0.7)
    expected = overlay(rgb, heat)[1, 0, 0]
    sheet = contact_sheet(rgb, {"saliency": heat})
    assert _cells(sheet, rgb[1, 0, 0])
    assert _cells(sheet, expected)


def test_small_clips_are_enlarged_and_png_reads_back(tmp_path):
    sheet = contact_sheet(
        _flat(3),
        {"a": np.zeros((3, 10, 12))},
        masks={"a": np.ones((3, 10, 12))},  # The name of a heat map, once more.
        title="clip",
        subtitle="network · p = 0.5",
        notes={"a": "kept 0.5"},
        frame_labels=["0 s", "1 s", "2 s"],
    )
    assert sheet.width > 3 * 12 * 168 / 10
    assert sheet.height > 3 * 168
    save_png(tmp_path / "sheet.png", sheet)
    with Image.open(tmp_path / "sheet.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(sheet))


def test_long_and_foreign_text_stays_inside():
    title = "Ёлка — ça va → 日本 " * 40
    sheet = contact_sheet(_flat(2), {title: np.zeros((2, 10, 12))}, title=title)
    pixels = np.asarray(sheet)
    assert (pixels[:, -20:] == 255).all()  # The right margin is empty.
    assert (pixels[:, :40] == 255).all()


def test_text_is_drawn():
    plain = np.asarray(contact_sheet(_flat(2), {}))
    titled = np.asarray(contact_sheet(_flat(2), {}, title="guitar"))
    assert titled.shape[0] > plain.shape[0]
    assert (titled[:90] < 60).all(-1).sum() > 100


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="'saliency'"):
        contact_sheet(_flat(2), {"saliency": np.zeros((2, 10, 11))})
    with pytest.raises(ValueError, match="`frame_labels`"):
        contact_sheet(_flat(2), {}, frame_labels=["a"])
