import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.cli import _pool, _train
from jaxattr.data import evidence
from jaxattr_models.evidence import evidence as evidence_network

TINY = dict(steps=24, batch_size=8, num_clips=16, num_held_out=5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run on few clips, what it reported as it went, and its file."""
    out = tmp_path_factory.mktemp("train") / "new" / "tiny.safetensors"
    seen = []
    report = _train.train_evidence(out, **TINY, progress=lambda *a: seen.append(a))
    return report, seen, out


def test_loss_falls_and_the_checkpoint_loads(chunk, trained):
    report, _, out = trained
    assert report.path == out
    assert report.losses.shape == (TINY["steps"],)
    assert report.losses[-4:].mean() < 0.92 * report.losses[:4].mean()
    assert report.losses.min() > 0.2648  # The entropy of the smoothed labels.
    net = evidence_network(weights=out)
    fresh = evidence_network(weights=None)
    assert np.abs(net.head.kernel[...] - fresh.head.kernel[...]).max() > 1e-3
    assert np.abs(net.block1.time_norm.mean[...]).max() > 1e-3  # Statistics, too.
    samples = evidence.batch(evidence.split_key("dev"), chunk)
    pixels = np.clip(np.round((samples.clip * 0.25 + 0.45) * 255), 0, 255)
    clips = jnp.asarray((pixels[:5] / 255 - 0.45) / 0.25, jnp.float32)
    answers = np.asarray(net(clips)).argmax(-1)
    right = (answers == np.asarray(samples.target[:5])).mean()
    assert report.accuracy == right
    assert report.num_held_out == 5


def test_header_says_what_it_is(trained):
    from safetensors import safe_open

    report, _, out = trained
    with safe_open(out, "numpy") as file:
        metadata = file.metadata()
    assert metadata["model"] == "evidence"
    assert metadata["accuracy"].startswith(f"{report.accuracy:.4f} on 5 clips")
    assert metadata["seed"] == "0"
    assert "24 steps of 8 out of 16 clips" in metadata["recipe"]


def test_progress_counts_every_stage_to_its_end(trained):
    report, seen, _ = trained
    last = {stage: (done, total) for stage, done, total, _ in seen}
    assert last["train"] == (24, 24)
    assert last["check"] == (5, 5)
    assert {stage for stage, *_ in seen} == {"render", "train", "check"}
    assert set(report.seconds) == {"render", "train", "check"}


@pytest.mark.slow
def test_same_seed_same_weights(trained, tmp_path):
    first, _, _ = trained
    again = _train.train_evidence(tmp_path / "again.safetensors", **TINY)
    # On one machine only the thread that sums first may differ: equal, or nearly.
    np.testing.assert_allclose(again.losses, first.losses, rtol=1e-3)
    assert again.accuracy == first.accuracy


@pytest.mark.parametrize(
    "stage",
    ["render", *(pytest.param(s, marks=pytest.mark.slow) for s in ("train", "check"))],
)
def test_interruption_leaves_what_was_there(stage, tmp_path):
    out = tmp_path / "evidence.safetensors"
    out.write_bytes(b"yesterday's")

    def interrupt(now, *_):
        if now == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train.train_evidence(out, **TINY | {"steps": 1}, progress=interrupt)
    assert out.read_bytes() == b"yesterday's"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("axis", ["x", "y", "t"])
@pytest.mark.parametrize("name", evidence.CLASSES)
def test_mirrored_clip_shows_the_mirrored_class(axis, name):
    target = evidence.CLASSES.index(name)
    key = jax.random.fold_in(evidence.split_key("dev"), 1)
    mask = evidence.render(key, target=target).mask
    flips = jnp.asarray([[axis == "x", axis == "y", axis == "t"]])
    mirrored, label = _pool.mirror(mask[None, ..., None], jnp.asarray([target]), flips)
    drift = _drift(mirrored[0, ..., 0])
    expected = _drift(evidence.render(key, target=int(label[0])).mask)
    np.testing.assert_allclose(drift, expected, atol=0.25)


def _drift(mask):
    """Mean change per frame of the centroid, and of the logarithm of the area."""
    rows = [np.nonzero(frame) for frame in np.asarray(mask) if frame.any()]
    measures = [(y.mean(), x.mean(), np.log(len(y))) for y, x in rows]
    return np.diff(measures, axis=0).mean(0)


@pytest.mark.parametrize("name", ["steps", "batch_size", "num_clips", "num_held_out"])
def test_counts_must_be_positive(name, tmp_path):
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 1, got 0"):
        _train.train_evidence(tmp_path / "a.safetensors", **TINY | {name: 0})


def test_files_that_cannot_be_are_refused_before_any_work(tmp_path):
    def never(*_):
        raise AssertionError("work began")

    def train(out, **changes):
        return _train.train_evidence(out, **TINY | changes, progress=never)

    with pytest.raises(ValueError, match=r"`out` must be a \.safetensors file"):
        train(tmp_path / "evidence.npz")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match="`out`"):
        train(tmp_path / "folder.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train(tmp_path / "file" / "evidence.safetensors")
    with pytest.raises(ValueError, match="`batch_size` must be at most `num_clips`"):
        train(tmp_path / "a.safetensors", batch_size=17)
