"""`jaxattr diagnose` on small clips, in this process."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import jaxattr
import jaxattr_models
from jaxattr.cli import _diagnose, main
from jaxattr.data import evidence, read_clip

T = 16


def write_clip(folder, num=T):
    """A white disc that grows, as a folder of frames."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:56, :56]
    for t in range(num):
        pixels = 255 * rng.normal(evidence.MEAN, 0.05, (56, 56, 3)).clip(0, 1)
        pixels[np.hypot(y - 25, x - 31) < 3 + 0.7 * t] = 255
        Image.fromarray(pixels.round().astype(np.uint8)).save(folder / f"{t:03}.png")
    return str(folder)


def diagnose(out, *paths, **options):
    words = ["diagnose", *paths, "--model", "evidence", "--out", str(out)]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return main(words)


def softmax(logits):
    weights = np.exp(np.asarray(logits, np.float64))
    return weights / weights.sum()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run over a bad clip and a good one: status, folder, the good clip."""
    folder = tmp_path_factory.mktemp("diagnose")
    good = write_clip(folder / "grow [b] one")
    short = write_clip(folder / "short", num=3)
    status = diagnose(
        folder / "out", short, good, method="saliency", foreground=0.02, shuffles=2
    )
    clip = read_clip(good, jaxattr_models.evidence().spec)
    return status, folder / "out", np.asarray(clip)


def test_a_bad_clip_does_not_stop_the_run(run):
    status, out, _ = run
    assert status == 1
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 1
    files = sorted(path.name for path in (out / names[0]).iterdir())
    assert files == ["diagnosis.json", "saliency.png", "values.npz"]


@pytest.mark.slow
def test_a_method_on_segments(tmp_path):
    path, out = write_clip(tmp_path / "grow"), tmp_path / "out"
    assert diagnose(out, path, method="swag", shuffles=1) == 0
    with np.load(out / "grow" / "values.npz") as values:
        whole = values["swag/static"] + values["swag/dynamic"]
        np.testing.assert_allclose(whole, values["swag/values"], atol=1e-4)
        assert len(np.unique(values["swag/values"])) <= 64


def test_the_numbers_are_the_network_s(run):
    _, out, clip = run
    folder = next(out.iterdir())
    facts = json.loads((folder / "diagnosis.json").read_text())
    network = jaxattr_models.evidence()
    logits = jax.jit(lambda frames: network(frames))
    target = int(logits(clip).argmax())
    assert (facts["target"], facts["label"]) == (target, evidence.CLASSES[target])

    def score(frames):
        return softmax(logits(frames))[target]

    stills = [score(np.repeat(clip[t : t + 1], T, 0)) for t in range(T)]
    values = np.asarray(jaxattr.saliency(network)(clip, target).values)
    heat = np.abs(values).mean(-1)
    hot = heat >= np.sort(heat.ravel())[-round(0.02 * heat.size)]
    own = facts["methods"]["saliency"]
    for got, want in (
        (facts["original"], score(clip)),
        (facts["reversed"], score(clip[::-1])),
        (facts["frozen"], stills),
        (facts["motion_matters"], score(clip) - max(stills)),
        (facts["order_matters"], score(clip) - facts["shuffled"]["mean"]),
    ):
        np.testing.assert_allclose(got, want, atol=2e-5)
    # What ties at the edge of the hottest voxels may fall on either side.
    only = score(np.where(hot[..., None], clip, 0).astype(np.float32))
    np.testing.assert_allclose(own["foreground_only"], only, atol=1e-3)
    with np.load(folder / "values.npz", allow_pickle=False) as saved:
        parts = {name: saved[f"saliency/{name}"] for name in ("static", "dynamic")}
        np.testing.assert_allclose(saved["saliency/values"], values, atol=1e-4)
    still = np.repeat(clip[5:6], T, 0)
    mean = np.asarray(jaxattr.saliency(network)(still, target).values).mean(0)
    np.testing.assert_allclose(parts["static"][5], mean, atol=1e-4)
    for name, part in parts.items():
        np.testing.assert_allclose(own[f"{name}_sum"], part.sum(), rtol=1e-3)
    sizes = {name: np.abs(part).sum() for name, part in parts.items()}
    share = sizes["dynamic"] / sum(sizes.values())
    np.testing.assert_allclose(own["dynamic_share"], share, rtol=1e-4)


def test_the_picture_has_a_row_for_each_part(run):
    with Image.open(next(run[1].iterdir()) / "saliency.png") as picture:
        assert picture.height > 4 * 168
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1000


@jax.tree_util.register_static
class Constant:
    """A network that does not look at its clip."""

    @property
    def spec(self):
        return jaxattr_models.evidence().spec

    def __call__(self, clip):
        return jax.numpy.zeros(len(evidence.CLASSES), clip.dtype)


def test_a_constant_network_and_one_order_have_words_for_what_is_not_there(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(jaxattr_models, "build", lambda *_, **__: Constant())
    noted = []
    monkeypatch.setattr(
        _diagnose.viz,
        "contact_sheet",
        lambda *_, notes, **__: noted.append(notes) or Image.new("RGB", (2, 3)),
    )
    frames = write_clip(tmp_path / "clip")
    assert diagnose(tmp_path / "out", frames, method="saliency", shuffles=1) == 0
    told = capsys.readouterr().err
    assert "nan" not in told.lower()
    assert "± – (one order)" in told
    assert "saliency is 0 throughout" in told
    assert noted == [{"static": "– (no heat)", "dynamic": "– (no heat)"}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"foreground": 0}, ["`--foreground`", "0..1"]),
        ({"shuffles": 0}, ["`--shuffles`"]),
        ({"method": "salency"}, ["no method 'salency'"]),
        ({"score": "logits"}, ["`score`", "logits"]),
        ({"target": "dance"}, ["no such class"]),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, capsys, options, words):
    frames = write_clip(tmp_path / "clip")
    options = {"method": "saliency", **options}
    assert diagnose(tmp_path / "out", frames, **options) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    for word in words:
        assert word in told
    assert not list((tmp_path / "out").glob("*"))
