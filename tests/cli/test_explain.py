"""The command line on small files, in this process; the demo in one of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxattr_models
from jaxattr._registry import METHODS
from jaxattr.cli import _commands, _methods, _run, main
from jaxattr.cli._paths import folder_names
from jaxattr.data import evidence, supervoxels


def write_frames(folder, num=16, size=(60, 70), seed=0):
    """A folder of noisy frames."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(num):
        pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    return str(folder)


def explain(out, *paths, method="saliency", **options):
    words = ["explain", *paths, "--model", "evidence", "--method", method]
    options = {"out": str(out), **options}
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return main(words)


def finished_clips(out):
    """Folders of a run, if its index lists them all and nothing else is there."""
    names = sorted(p.name for p in out.iterdir())
    folders = [name for name in names if name != "index.html"]
    index = (out / "index.html").read_text() if folders else ""
    assert [name for name in folders if f'href="{name}/' in index] == folders
    for name in folders:
        assert sorted(p.suffix for p in (out / name).iterdir()) == [
            ".gif",
            ".html",
            ".mp4",
            ".npz",
            ".png",
            ".png",
        ]
    return folders


def test_a_bad_clip_does_not_stop_the_run(tmp_path, capsys):
    good = write_frames(tmp_path / "a" / "clip & <b>one</b>")
    twin = write_frames(tmp_path / "b" / "clip & <b>one</b>", seed=1)
    short = write_frames(tmp_path / "short", num=3)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    out = tmp_path / "out"
    methods = {"method": "saliency,smooth_grad", "set": "smooth_grad.num_samples=3"}
    status = explain(out, good, short, str(empty), twin, **methods)
    assert status == 1
    told = capsys.readouterr().err
    assert "4 clips x 2 methods" in told
    assert "GiB" in told
    assert "2 of 4 clips explained" in told
    assert "empty.mp4" in told
    folders = sorted(p.name for p in out.iterdir() if p.is_dir())
    assert len(folders) == 2
    for name in folders:
        with np.load(out / name / "values.npz", allow_pickle=False) as values:
            assert values["saliency/values"].shape == (16, 56, 56, 3)
            assert values["smooth_grad/standard_error"].shape == (16, 56, 56, 3)
            assert np.isfinite(values["saliency/values"]).all()
        assert (out / name / "sheet.png").stat().st_size > 10_000
        page = (out / name / "index.html").read_text()
        assert "<b>one" not in page
    index = (out / "index.html").read_text()
    assert "short" in index
    assert "<b>one" not in index


@pytest.mark.slow
def test_a_method_on_segments_gets_them_from_the_clip(tmp_path):
    path, out = write_frames(tmp_path / "clip"), tmp_path / "out"
    few = "swag.num_segments=9"
    assert explain(out, path, method="swag,saliency", set=few) == 0
    with np.load(out / "clip" / "values.npz", allow_pickle=False) as values:
        found, heat = values["swag/segment_values"], values["swag/values"]
        slope = np.abs(values["saliency/values"]).mean(-1)
        clip = values["clip"]
    labels = supervoxels(clip, 9)
    means = [slope[labels == n].mean() for n in range(labels.max() + 1)]
    np.testing.assert_allclose(found[: len(means)], means, rtol=1e-4)
    np.testing.assert_allclose(heat, found[labels])


def test_ctrl_c_leaves_what_was_finished(tmp_path, monkeypatch, capsys):
    paths = [write_frames(tmp_path / f"clip{i}", seed=i) for i in range(3)]
    finished = _run._Worker.explain

    def interrupted(self, job, index, *rest):
        if index == 1:
            raise KeyboardInterrupt
        return finished(self, job, index, *rest)

    monkeypatch.setattr(_run._Worker, "explain", interrupted)
    assert explain(tmp_path / "out", *paths) == 130
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "clip0",
        "index.html",
    ]
    assert "clip0" in (tmp_path / "out" / "index.html").read_text()


@pytest.fixture
def heard():
    """Ctrl-C counts, though it is ignored in what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("heard")
def test_a_swallowed_ctrl_c_stops_the_run_all_the_same(tmp_path, monkeypatch, capsys):
    paths = [write_frames(tmp_path / f"clip{i}", seed=i) for i in range(3)]
    save_report = _run.viz.save_report

    def swallowing(folder, *args, **kwargs):
        page = save_report(folder, *args, **kwargs)
        with contextlib.suppress(KeyboardInterrupt):  # As XLA's hooks do.
            signal.raise_signal(signal.SIGINT)
        return page

    monkeypatch.setattr(_run.viz, "save_report", swallowing)
    before = signal.getsignal(signal.SIGINT)
    assert explain(tmp_path / "out", *paths) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "Interrupted" in capsys.readouterr().err
    # The page was in place when the signal came: the index knows it.
    assert finished_clips(tmp_path / "out") == ["clip0"]
    monkeypatch.undo()
    assert explain(tmp_path / "again", paths[0]) == 0


def test_a_network_whose_logits_are_not_finite_fails_by_name(tmp_path, capsys):
    network = jaxattr_models.evidence()
    for leaf in (network.head.kernel, network.head.bias):  # Finite, until added up.
        leaf.set_value(jnp.full_like(leaf.get_value(), 3e38))
    jaxattr_models.save(network, tmp_path / "broken.safetensors")
    paths = [write_frames(tmp_path / f"clip{i}", seed=i) for i in range(2)]
    options = {"weights": tmp_path / "broken.safetensors"}
    assert explain(tmp_path / "out", *paths, **options) == 1
    told = capsys.readouterr().err
    assert told.count("logits are not finite") == 4  # As it happens, and in the end.
    assert "0 of 2 clips explained" in told
    assert "logits are not finite" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "salency"}, ["no method 'salency'", "saliency"]),
        ({"method": " , "}, ["names no method"]),
        ({"method": "expected_gradients"}, ["needs baselines"]),
        ({"set": "noise=0.1"}, ["no such setting", "score"]),
        ({"set": "step.noise=0.1"}, ["no method 'step' in this run"]),
        ({"set": "noise"}, ["setting=value"]),
        ({"target": "8"}, ["`--target`", "0..7"]),
        ({"target": "dance"}, ["no such class"]),
        ({"labels": "/nowhere.txt"}, ["`--labels", "nowhere"]),
        ({"labels": __file__}, ["`--labels", "for 8 classes"]),
        ({"method": "smooth_grad", "set": "noise=abc"}, ["`noise`", "abc"]),
        ({"target": "²"}, ["no such class"]),
        ({"areas": "a,b", "method": "step"}, ["`--areas`"]),
        ({"areas": "0.1"}, ["`--areas` is no setting of saliency", "step"]),
        ({"preset": "fast", "method": "saliency,smooth_grad"}, ["`--preset`", "step"]),
        ({"preset": "zzz", "method": "step"}, ["`preset`", "'fast', 'paper'", "zzz"]),
        ({"method": "saliency,saliency"}, ["saliency twice", "--out"]),
        ({"areas": "0.1,1.5", "method": "step"}, ["areas", "1.5"]),
        ({"score": "logits"}, ["`score`", "logits"]),
        ({"weights": "kinetics"}, ["kinetics"]),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, capsys, options, words):
    frames = write_frames(tmp_path / "clip")
    assert explain(tmp_path / "out", frames, **options) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert told.startswith("jaxattr: ") or "jaxattr: " in told
    for word in words:
        assert word in told
    assert not list((tmp_path / "out").glob("*/*"))


def test_an_unwritable_folder_is_told_before_any_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    frames = write_frames(tmp_path / "clip")
    assert explain(tmp_path / "file", frames) == 2
    assert "`--out" in capsys.readouterr().err
    assert main(["explain"]) == 2
    assert main(["explain", "x", "--model", "r2plus1"]) == 2
    assert "r2plus1d_18" in capsys.readouterr().err


def test_labels_from_a_file_name_the_target(tmp_path, capsys):
    names = [f"class-{i}" for i in range(8)]
    (tmp_path / "names.json").write_text(json.dumps(names))
    frames = write_frames(tmp_path / "clip")
    out = tmp_path / "out"
    status = explain(
        out, frames, labels=tmp_path / "names.json", target="CLASS-3", seed=4
    )
    assert status == 0
    page = (out / "clip" / "index.html").read_text()
    assert "class-3" in page
    assert not any(f">{name}<" in page for name in evidence.CLASSES)


def test_brackets_in_names_and_labels_are_text(tmp_path, capsys):
    frames = write_frames(tmp_path / "title [b] [dQw4]")
    (tmp_path / "names.txt").write_text("\n".join(f"[/b]{i}" for i in range(8)))
    assert explain(tmp_path / "out", frames, labels=tmp_path / "names.txt") == 0
    assert "title [b] [dQw4]: [/b]" in capsys.readouterr().err


def test_every_clip_gets_a_folder_of_its_own():
    paths = ["a/x.mp4", "b/x.mp4", "index.html.gif", "..", "x-2.gif"]
    names = folder_names(paths)
    assert names == ["x", "x-2", "index.html-2", "clip", "x-2-2"]


def test_the_estimate_comes_with_the_first_good_clip(tmp_path, capsys):
    (tmp_path / "empty.mp4").touch()
    frames = write_frames(tmp_path / "clip")
    assert explain(tmp_path / "out", str(tmp_path / "empty.mp4"), frames) == 1
    assert "1 clip x 1 method on" in capsys.readouterr().err


@pytest.mark.slow
def test_random_weights_are_said_on_the_page(tmp_path):
    frames = write_frames(tmp_path / "clip", num=20, size=(64, 64))
    words = ["explain", frames, "--model", "lrcn", "--method", "saliency"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert (
        "weights are random" in (tmp_path / "out" / "clip" / "index.html").read_text()
    )


@pytest.mark.slow
def test_the_four_known_answers_of_the_lrcn(tmp_path, shared_clips, shared_weights):
    want = {
        "k400_playing_guitar_wFWTW0q57ms": "PlayingGuitar",
        "k400_playing_guitar_2enXX9xrIp0": "PlayingGuitar",
        "k400_playing_bass_guitar_JVAwfvQUlwA": "PlayingGuitar",
        "ucf101_WalkingWithDog_g06_c05_16f": "WalkingWithDog",
    }
    weights = shared_weights / "ucf50_4cls_lrcn.safetensors"
    frames = [str(shared_clips / "frames" / name) for name in list(want)[:3]]
    dog = str(shared_clips / "gifs" / f"{list(want)[3]}.gif")
    common = {"model": "lrcn", "weights": weights}
    assert explain(tmp_path / "out", *frames, **common) == 0
    # A white border of six pixels is not part of the clip.
    assert explain(tmp_path / "dog", dog, box="6,6,294,294", **common) == 0
    for name, label in want.items():
        parent = "dog" if "Dog" in name else "out"
        with np.load(tmp_path / parent / name / "values.npz") as values:
            target = json.loads(str(values["metadata"]))["settings"]["target"]
        assert label in target


@pytest.mark.parametrize("command", ["models", "methods", "doctor"])
def test_tables(command, capsys):
    assert main([command]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 8


@pytest.mark.parametrize(
    ("command", "names"), [("models", jaxattr_models.models()), ("methods", METHODS)]
)
def test_tables_name_everything_in_80_columns(command, names, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    first = [line.split()[0] for line in lines if line.strip()]
    assert [name for name in first if name in names] == list(names)


def test_convert_round_trip(tmp_path, shared_weights):
    source = str(shared_weights / "ucf50_4cls_lrcn.safetensors")
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert main(["convert", source, str(first), "--model", "lrcn"]) == 0
    assert main(["convert", str(first), str(second), "--model", "lrcn"]) == 0
    from safetensors.numpy import load_file

    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name])


def assert_evidence_is_hot(folder):
    """The maps of a demo lie on what decides."""
    pages = list(folder.glob("*/"))
    assert len(pages) == 3
    for page in pages:
        with np.load(page / "values.npz") as values:
            truth = values["evidence (truth)/values"]
            heat = np.abs(values["integrated_gradients/values"]).mean(-1)
        # The evidence is about 2 % of the voxels; chance is the same share of the mass.
        assert heat[truth > 0.5].sum() / heat.sum() > 0.2


def test_the_demo_with_one_of_its_methods(tmp_path, monkeypatch, capsys):
    one = _methods.pick("integrated_gradients", common={"num_steps": 8})
    monkeypatch.setattr(_commands, "pick", lambda names, common: one)
    assert main(["demo", str(tmp_path / "demo")]) == 0
    assert "3 of 3 clips explained" in capsys.readouterr().err
    assert_evidence_is_hot(tmp_path / "demo")


@pytest.mark.slow
def test_the_demo_in_a_process_of_its_own(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "jaxattr.cli", "demo", str(tmp_path / "demo")],
        env={**os.environ, "JAXATTR_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 3 clips explained" in done.stderr
    assert_evidence_is_hot(tmp_path / "demo")
