import json
import pathlib

import av
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxattr.data import Source
from jaxattr.data._geometry import Geometry
from jaxattr.viz import IndexEntry, _report, save_index, save_report, to_rgb
from jaxattr.viz._content import gather

FILES = {
    "index.html",
    "overlay.gif",
    "overlay.mp4",
    "sheet.png",
    "thumbnail.png",
    "values.npz",
}


def _names(folder):
    return {p.name for p in pathlib.Path(folder).iterdir()}


def test_writes_files_that_decode(tmp_path, clip, results, spec):
    page = save_report(tmp_path / "a" / "b", clip, results, spec=spec, target=1, fps=5)
    folder = tmp_path / "a" / "b"
    assert page == folder / "index.html"
    assert _names(folder) == FILES
    with Image.open(folder / "overlay.gif") as gif:
        assert gif.n_frames == 5
        width, height = gif.size
    with av.open(str(folder / "overlay.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 5
    assert (frames[0].width, frames[0].height) == (width + width % 2, height)
    for name in ("sheet.png", "thumbnail.png"):
        with Image.open(folder / name) as image:
            image.load()


def test_archive_round_trip(tmp_path, clip, results, spec):
    results["other"] = jnp.asarray(np.ones(clip.shape[:3]), jnp.bfloat16)
    settings = {"network": "tiny", "step": {"areas": (0.05, 0.1), "key": None}}
    save_report(
        tmp_path,
        clip,
        results,
        spec=spec,
        target=jnp.asarray(1),
        prediction=[("right", jnp.float32(0.75)), ("left", 0.25)],
        settings=settings,
        warnings=["careful"],
    )
    with np.load(tmp_path / "values.npz") as archive:
        np.testing.assert_array_equal(archive["clip"], clip)
        for method in ("step", "integrated_gradients", "cam"):
            for field, value in results[method]._asdict().items():
                if isinstance(value, np.ndarray | float):
                    got = archive[f"{method}/{field}"]
                    assert got.dtype == np.asarray(value).dtype
                    np.testing.assert_array_equal(got, value)
        assert archive["step/history/loss"].tolist() == [0, 1, 2]
        assert archive["other/values"].dtype == np.float32
        assert "cam/residual" not in archive  # None is left out.
        metadata = json.loads(str(archive["metadata"]))
    assert metadata["label"] == "right"
    assert metadata["target"] == 1
    assert metadata["prediction"] == [["right", 0.75], ["left", 0.25]]
    assert metadata["settings"]["step"] == {"areas": [0.05, 0.1], "key": None}
    assert metadata["warnings"] == ["careful"]
    assert metadata["heatmaps"]["step"]["blur"] == pytest.approx(240 / 112)
    assert metadata["heatmaps"]["cam"]["quantile"] == 0.999


def test_takes_results_as_they_come_from_jax(tmp_path, clip, results):
    on_device = jax.tree.map(jnp.asarray, results)
    save_report(tmp_path, jnp.asarray(clip), on_device)
    assert _names(tmp_path) == FILES


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("step", ["gather", "save_gif", "save_mp4", "render_page"])
def test_failure_leaves_nothing(tmp_path, monkeypatch, clip, results, step, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(_report, step, fail)
    with pytest.raises(error):
        save_report(tmp_path / "new" / "folder", clip, results)
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "index.html").write_text("before")
    with pytest.raises(error):
        save_report(tmp_path / "old", clip, results)
    assert _names(tmp_path / "old") == {"index.html"}
    assert (tmp_path / "old" / "index.html").read_text() == "before"


def test_a_file_in_the_way_is_named_before_any_work(
    tmp_path, monkeypatch, clip, results
):
    monkeypatch.setattr(_report, "gather", lambda *a, **k: pytest.fail("worked"))
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="`folder`"):
            save_report(folder, clip, results)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_refuses_is_named(tmp_path, monkeypatch, clip, results):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(PermissionError, match="`folder` cannot be written"):
        save_report(tmp_path / "new", clip, results)
    assert not (tmp_path / "new").exists()


def test_bad_results_are_named(tmp_path, clip, results):
    cases = {
        "`results` is empty": {},
        "'cam'": {"cam": results["cam"]._replace(values=np.zeros((5, 12, 16)))},
        "'batch'": {"batch": np.zeros((2, *clip.shape))},
        "'step'.*masks": {"step": results["step"]._replace(areas=np.asarray([0.1]))},
    }
    for message, bad in cases.items():
        with pytest.raises(ValueError, match=message):
            save_report(tmp_path / "out", clip, bad)
    assert not (tmp_path / "out").exists()


def test_no_result_overwrites_another(tmp_path, clip, results):
    cam = results["cam"]
    with pytest.raises(ValueError, match="`results` holds '1' twice"):
        save_report(tmp_path / "out", clip, {1: cam, "1": cam})
    with pytest.raises(ValueError, match="two arrays called 'step/history/values'"):
        save_report(
            tmp_path / "out",
            clip,
            {
                "step": results["step"]._replace(history={"values": cam.values}),
                "step/history": cam,
            },
        )
    assert not (tmp_path / "out").exists()


def test_areas_that_print_alike_get_a_row_each(clip, results):
    alike = results["step"]._replace(areas=np.asarray([0.05, 0.0500001]))
    sheet = _report._sheet(gather(clip, {"step": alike}))
    other = _report._sheet(gather(clip, {"step": results["step"]}))
    assert sheet.height == other.height


def test_maps_are_drawn_as_they_are_asked_to_be(tmp_path, clip, results):
    settings = {"channels": "positive_mean", "normalise": "max"}
    values = results["integrated_gradients"].values
    content = gather(clip, results, heatmaps={"integrated_gradients": settings})
    positive = np.maximum(values, 0).mean(-1)
    np.testing.assert_allclose(
        content.heatmaps["integrated_gradients"], positive / positive.max(), rtol=1e-6
    )
    assert content.drawn_with["integrated_gradients"] == settings
    assert content.drawn_with["cam"]["quantile"] == 0.999
    with pytest.raises(ValueError, match=r"`heatmaps` names .*'nothing'"):
        gather(clip, results, heatmaps={"nothing": settings})
    signed = {"channels": "mean", "normalise": "none"}
    with pytest.raises(ValueError, match="`heatmaps` must give values in 0"):
        gather(clip, results, heatmaps={"integrated_gradients": signed})


def test_values_that_are_not_finite_are_said(tmp_path, clip, results):
    bad = results["cam"]._replace(values=np.full(clip.shape[:3], np.nan))
    page = save_report(tmp_path, clip, {"cam": bad}).read_text("utf-8")
    assert "3840 of 3840 values are not finite" in page
    assert "No evidence in any frame" in page


def test_thumbnail_is_the_frame_with_most_evidence(tmp_path, clip, rgb, spec):
    heat = np.zeros(clip.shape[:3])
    heat[3, 0, 0] = 1e-3  # A single voxel: above the quantile, yet not an outlier.
    save_report(tmp_path, clip, {"cam": heat}, spec=spec)
    with Image.open(tmp_path / "thumbnail.png") as image:
        small = np.asarray(image.resize((32, 24), Image.Resampling.BOX)).astype(int)
    distance = [np.abs(small - frame).mean() for frame in to_rgb(clip, spec)]
    assert int(np.argmin(distance)) == 3


def test_index_links_reports_and_tells_failures(tmp_path, clip, results):
    save_report(tmp_path / "clip #1", clip, results)
    entries = [
        IndexEntry("first <b>", "clip #1", "right · p = 0.9"),
        IndexEntry("second", error="it is <empty>"),
    ]
    page = save_index(tmp_path, entries, warnings=["random & untrained"])
    text = page.read_text("utf-8")
    assert 'href="clip%20%231/index.html"' in text
    assert text.count("data:image/webp;base64,") == 1
    assert "first &lt;b&gt;" in text
    assert "Failed: it is &lt;empty&gt;" in text
    assert "random &amp; untrained" in text
    assert "1 of 2 clips" in text
    assert _names(tmp_path) == {"clip #1", "index.html"}


def test_pictures_show_the_source_where_the_network_looked(clip, results, spec):
    """Rows 20..80 and columns 10..90 of the source, which alone are bright."""
    frames = np.zeros((5, 100, 120, 3), np.uint8)
    frames[:, 20:80, 10:90] = 200
    source = Source(
        path="video",
        indices=np.arange(5),
        times=np.arange(5.0),
        frames=frames,
        # The whole frame at 0.4 of its size, then 24x32 pixels of it at (8, 4).
        geometry=Geometry((100, 120), (0, 0, 100, 120), (40, 48), (8, 4), (24, 32)),
    )
    content = gather(clip, results, spec=spec, source=source)
    assert content.picture.shape == (5, 60, 80, 3)
    # Lanczos sees no pixel outside of its window.
    np.testing.assert_array_equal(content.picture, 200)
    assert gather(clip, results, spec=spec).picture.shape == clip.shape
