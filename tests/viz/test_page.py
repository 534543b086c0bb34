"""The page: what it says, that nothing escapes from it, and that a browser runs it."""

import base64
import html.parser
import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from jaxattr.data import Source
from jaxattr.data._geometry import Geometry
from jaxattr.viz import save_report
from jaxattr.viz._content import gather
from jaxattr.viz._html import script_json
from jaxattr.viz._page import render_page

EVIL = "</script><img src=x onerror=\"document.title='owned'\">&'{{$title}}"


def _find(selector, text):
    return re.findall(selector, text, re.DOTALL)


def _data(text):
    found = _find(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found[0])


@pytest.fixture
def page(tmp_path, clip, results, spec):
    def make(**settings):
        settings = {"spec": spec, "target": 1} | settings
        chosen = settings.pop("results", results)
        return save_report(tmp_path / "out", clip, chosen, **settings)

    return make


def test_needs_nothing_from_outside(page):
    text = page(settings={"weights": "kinetics400"}).read_text("utf-8")
    assert not _find(r"https?:|//[a-z]+\.", text)
    links = _find(r'(?:href|src)="([^"]*)"', text)
    local = {"values.npz", "sheet.png", "overlay.gif", "overlay.mp4"}
    assert all(link in local for link in links)
    assert "default-src 'none'" in text


def test_everything_from_outside_is_escaped(page, spec, results):
    spec.labels = ("left", EVIL)
    text = page(
        results={EVIL: results["step"], "cam": results["cam"]},
        prediction=[(EVIL, 0.5)],
        settings={"network": EVIL, EVIL: {EVIL: EVIL}, "weights": EVIL},
        title=EVIL,
        warnings=[EVIL],
    ).read_text("utf-8")

    class Tags(html.parser.HTMLParser):
        seen = set()  # noqa: RUF012
        attributes = set()  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            self.seen.add(tag)
            self.attributes |= {name for name, _ in attrs}

    parser = Tags()
    parser.feed(text)
    assert "img" not in parser.seen
    assert not {name for name in parser.attributes if name.startswith("on")}
    assert text.count("<script") == 2
    assert text.count("</script") == 2
    assert EVIL not in text


def test_sentences_and_sprites(page, results, rgb):
    data = _data(page(prediction=[("left", 0.6), ("right", 0.4)]).read_text("utf-8"))
    small, large = (f"{100 * a:.3g}\u202f%" for a in results["step"].area_reached)
    assert data["frames"] == 5
    assert data["masks"][0]["sentences"] == [
        f"Asked to keep 5\u202f% of the clip, this mask keeps {small}. "
        "What is left gets probability 0.700; the whole clip gets 0.400.",
        f"Asked to keep 10\u202f% of the clip, this mask keeps {large}. "
        "What is left gets probability 0.900; the whole clip gets 0.400.",
    ]
    raw = base64.b64decode(data["masks"][0]["sprite"].split(",")[1])
    sprite = np.asarray(Image.open(io.BytesIO(raw)))[..., 0]
    columns = data["columns"]
    for i, mask in enumerate(results["step"].masks.reshape(-1, 24, 32)):
        y, x = divmod(i, columns)
        cell = sprite[24 * y : 24 * y + 24, 32 * x : 32 * x + 32]
        np.testing.assert_array_equal(cell, 255 * mask)
    raw = base64.b64decode(data["clip"].split(",")[1])
    first = np.asarray(Image.open(io.BytesIO(raw)))[:24, :32].astype(int)
    assert np.abs(first - rgb[0]).mean() < 6  # Lossy, but the right frame.


def test_masks_are_sorted_by_area_and_bare_ones_need_no_evidence(page, results):
    step = results["step"]
    turned = step._replace(
        masks=step.masks[::-1], areas=step.areas[::-1], kept=None, area_reached=None
    )
    text = page(results={"step": turned}).read_text("utf-8")
    assert _data(text)["masks"][0]["sentences"] == [
        "Asked to keep 5\u202f% of the clip.",
        "Asked to keep 10\u202f% of the clip.",
    ]
    assert 'class="chart"' not in text


def test_a_single_mask_has_no_slider_and_no_chart(page, results):
    step = results["step"]
    one = step._replace(masks=step.masks[:1], areas=step.areas[:1], kept=step.kept[:1])
    text = page(results={"step": one}).read_text("utf-8")
    assert "<label hidden>Area kept" in text
    assert 'class="chart"' not in text
    assert "gets probability 0.700" in text


def test_a_score_is_not_called_a_probability(page, results):
    step = results["step"]._replace(kept=np.asarray([-2.0, 3.5]))
    text = page(results={"step": step}, prediction=[("right", 0.4)]).read_text("utf-8")
    sentence = _data(text)["masks"][0]["sentences"][1]
    assert sentence.endswith("What is left gets score 3.500.")
    ends = [float(y) for y in _find(r'<circle [^>]*cy="([^"]*)"', text)]
    assert ends == [170.0, 20.0]  # The chart stretches to what there is.


def test_json_cannot_end_its_script_element():
    assert not set(script_json({EVIL: [EVIL]})) & set("<>&")
    assert json.loads(script_json({EVIL: [EVIL]})) == {EVIL: [EVIL]}


def test_times_of_the_source_are_shown(page, rgb):
    geometry = Geometry((24, 32), (0, 0, 24, 32), (24, 32), (0, 0), (24, 32))
    source = Source("a", np.arange(5), np.asarray([0, 1, 2, 3, 4.25]), rgb, geometry)
    names = _data(page(source=source).read_text("utf-8"))["names"]
    assert names[4] == "frame 4 / 4 · 4.25 s"
    source = source._replace(times=np.full(5, np.nan))
    names = _data(page(source=source).read_text("utf-8"))["names"]
    assert names[4] == "frame 4 / 4"
    with pytest.raises(ValueError, match="`source` has 4 frames"):
        page(source=source._replace(times=np.zeros(4)))


@pytest.mark.parametrize("weights", [None, "random (seed 3)", "Untrained"])
def test_random_weights_put_up_a_banner(page, weights):
    text = page(settings={"weights": weights}).read_text("utf-8")
    assert "weights are random" in text


def test_trained_weights_do_not(page):
    for settings in ({"weights": "kinetics400"}, {}):
        assert "weights are random" not in page(settings=settings).read_text("utf-8")


def test_page_stays_small():
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (16, 112, 112, 3)).astype(np.uint8)  # The worst case.
    noise = {f"m{i}": rng.random(clip.shape[:3]) for i in range(4)}
    content = gather(clip, noise)
    assert len(render_page(content).encode()) < 3e6


def _browser():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and "CI" not in os.environ:
        pytest.skip("no Chromium on this machine")
    assert found, "CI needs Chromium"
    return found


def _visit(page, profile, *extra):
    command = [
        *(_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", f"--user-data-dir={profile}", "--window-size=1200,900"),
        *("--virtual-time-budget=3000", *extra, page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return done.stdout.decode()


def test_a_browser_runs_it(page, tmp_path, results):
    written = page(
        results={EVIL: results["step"], "cam": results["cam"]},
        title=EVIL,
        prediction=[("right", 0.4)],
    )
    dom = _visit(written, tmp_path / "profile", "--dump-dom")
    assert 'data-ready="frames:5 maps:2 masks:1"' in dom
    assert "data-error" not in dom
    assert "<img" not in dom
    assert "<title>owned" not in dom
    assert _find(r'id="clock"[^>]*>frame \d / 4<', dom)  # The player drew a frame,
    assert "Asked to keep 5\u202f%" in _find(r'class="area-text"[^>]*>([^<]*)', dom)[0]
    assert len(_find(r'<rect [^>]*class="now"', dom)) == 2  # and marked it on strips.


def test_the_browser_draws_what_overlay_draws(page, tmp_path, results, rgb, clip, spec):
    grey = np.full_like(rgb, 100)
    flat = ((grey / 255 - spec.mean) / spec.std).astype(np.float32)
    heat = np.ones(rgb.shape[:3])
    heat[:, :, :16] = 0  # The right half is all the evidence there is.
    written = save_report(tmp_path / "flat", flat, {"cam": heat}, spec=spec)
    shot = tmp_path / "shot.png"
    _visit(written, tmp_path / "profile", f"--screenshot={shot}")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    expected = 0.15 * 100 + 0.85 * np.asarray([252, 255, 164])
    for colour in (expected, (100, 100, 100)):
        assert (np.abs(pixels - colour).max(-1) <= 3).sum() > 10_000
