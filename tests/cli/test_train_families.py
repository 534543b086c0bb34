import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

import jaxattr_models as models
from jaxattr.cli import _pool, _train_families, main
from jaxattr.data import evidence

TINY = dict(steps=3, num_clips=6, num_dev=2, num_test=5, families=("order",))


def _silent(*_):
    pass


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache folder for this module's clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXATTR_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def trained(home, tmp_path_factory):
    """A short run, what it reported as it went, and its file."""
    out = tmp_path_factory.mktemp("train") / "lstm.safetensors"
    seen = []
    report = _train_families.train_families(
        "lstm", out, **TINY, progress=lambda *a: seen.append(a)
    )
    return report, seen, out


def test_the_checkpoint_answers_as_reported(trained):
    report, _, out = trained
    net = models.evidence_lstm(weights=out)
    assert net.spec.labels == evidence.LABELS
    key = evidence.split_key("test")
    right = 0
    for index in range(5):
        sample = evidence.render(jax.random.fold_in(key, index), "order")
        pixels = np.clip(
            np.round((np.asarray(sample.clip) * 0.25 + 0.45) * 255), 0, 255
        )
        clip = jnp.asarray((pixels / 255 - 0.45) / 0.25, jnp.float32)
        right += int(net(clip).argmax()) == int(sample.target)
    assert report.accuracy == {"order": right / 5}
    assert report.num_test == 5
    assert report.losses.shape == (3,)
    fresh = models.evidence_lstm(weights=None)
    assert np.abs(net.head.kernel[...] - fresh.head.kernel[...]).max() > 1e-4


def test_header_says_what_it_is(trained):
    with safe_open(trained[2], "numpy") as file:
        metadata = file.metadata()
    assert metadata["model"] == "evidence_lstm"
    assert "on 5 clips each of the test split" in metadata["accuracy"]
    assert "3 steps of 32 out of 6 clips of each family" in metadata["recipe"]
    assert metadata["seed"] == "0"


def test_progress_counts_every_stage_to_its_end(trained):
    report, seen, _ = trained
    last = {stage: (done, total) for stage, done, total, _ in seen}
    assert last == {"render": (5, 5), "train": (3, 3), "check": (5, 5)}
    assert "dev order" in [note for stage, *_, note in seen if stage == "train"][-1]
    assert set(report.seconds) == {"render", "train", "check"}


def test_clips_are_rendered_once_and_are_those_of_the_split(home):
    settings = dict(family="order", none=1.0)
    first = _pool.cached_pool("dev", 3, 2, _silent, **settings)

    def never(*_):
        raise AssertionError("rendered again")

    again = _pool.cached_pool("dev", 3, 2, never, **settings)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.labels.tolist() == [evidence.NONE] * 2
    key = jax.random.fold_in(evidence.split_key("dev", seed=3), 1)
    clip = evidence.render(key, "order", none=1.0).clip
    shown = np.asarray(_pool.from_bytes(jnp.asarray(first.clips[1])))
    np.testing.assert_allclose(shown, clip, atol=0.51 / 255 / 0.25)
    for other in (("train", 3, 2), ("dev", 4, 2), ("dev", 3, 1)):
        with pytest.raises(AssertionError, match="rendered again"):
            _pool.cached_pool(*other, never, **settings)


def test_a_change_of_the_renderer_is_noticed(home, monkeypatch):
    _pool.cached_pool("dev", 3, 2, _silent, family="order", none=1.0)
    monkeypatch.setattr(_pool, "_source", lambda: b"another renderer")
    seen = []
    _pool.cached_pool("dev", 3, 2, lambda *a: seen.append(a), family="order", none=1.0)
    assert seen


def test_interrupted_rendering_leaves_no_clips(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXATTR_HOME", str(tmp_path))

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _pool.cached_pool("dev", 3, 2, interrupt, family="order", none=1.0)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("target", evidence.labels("order"))
@pytest.mark.parametrize("axis", range(3))
def test_mirrored_order_is_the_other_order_in_time_only(home, target, axis):
    key = jax.random.fold_in(evidence.split_key("dev"), 1)
    parts = evidence.render(key, "order", target=target).parts
    names = evidence.FAMILIES["order"].parts
    discs = jnp.stack([parts[names.index(name)] for name in ("white", "black")], -1)
    flips = jnp.arange(3)[None] == axis  # Of x, y, t.
    mirrored, label = _pool.mirror(discs[None], jnp.asarray([target]), flips)
    frames = [
        np.flatnonzero(disc.any((1, 2))).mean()
        for disc in np.moveaxis(np.asarray(mirrored[0]), -1, 0)
    ]
    first = ("white", "black")[int(np.argmin(frames))]
    assert evidence.LABELS[int(label[0])].startswith(first)


def test_families_come_by_their_shares():
    pools = {
        name: _pool.Pool(np.zeros((2, 1, 1, 1, 3), np.uint8), np.full(2, index))
        for index, name in enumerate(evidence.FAMILIES)
    }
    recipe = _train_families.RECIPES["lstm"]._replace(steps=200, batch_size=32)
    batches = list(_train_families._mixed(pools, recipe, seed=0))
    assert len(batches) == 200
    labels = np.concatenate([labels for _, labels, _ in batches])
    shares = np.bincount(labels) / len(labels)
    want = np.array([3, 2, 1, 1, 1, 1, 2]) / 11
    np.testing.assert_allclose(shares, want, atol=0.02)


@pytest.mark.parametrize("network", _train_families.RECIPES)
def test_every_recipe_has_its_network(network):
    assert f"evidence_{network}" in models.models()


def test_wrong_arguments_are_refused_before_any_work(tmp_path, capsys):
    def train(network="lstm", **changes):
        out = tmp_path / "a.safetensors"
        return _train_families.train_families(network, out, **TINY | changes)

    with pytest.raises(ValueError, match=r"`network` must be one of .*'lstm'.*'cnn'"):
        train("cnn")
    with pytest.raises(ValueError, match=r"`family`.*did you mean 'order'"):
        train(families=("ordre",))
    with pytest.raises(ValueError, match="`families` must be at least 1, got 0"):
        train(families=())
    with pytest.raises(ValueError, match="`num_test` must be at least 1, got 0"):
        train(num_test=0)
    assert not list(tmp_path.iterdir())
    assert main(["train", "evidence", "--network", "transfromer"]) == 2
    assert "did you mean transformer" in capsys.readouterr().err
    assert main(["train", "evidence", "--families", "order"]) == 2
    assert "`--families` needs `--network`" in capsys.readouterr().err
