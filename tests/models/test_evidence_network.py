import importlib.resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxattr.data import evidence as clips_of
from jaxattr_models.evidence import LABELS, evidence

NUM = 256


@pytest.fixture(scope="module")
def net():
    return evidence()


@pytest.fixture(scope="module")
def logits(net):
    forward = jax.jit(lambda net, clips: net(clips))
    return lambda clips: np.asarray(forward(net, clips))


@pytest.fixture(scope="module")
def answer(logits):
    return lambda clips: logits(clips).argmax(-1)


def _held_out(**switches):
    """256 clips of the "dev" split."""
    key = clips_of.split_key("dev")
    parts = [
        clips_of.batch(key, 64, start=start, **switches) for start in range(0, NUM, 64)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@pytest.fixture(scope="module")
def held_out():
    return _held_out()


def test_shipped_weights_answer_held_out_clips(answer, held_out):
    right = answer(held_out.clip) == held_out.target
    assert right.mean() >= 0.95
    for target in range(8):
        assert right[held_out.target == target].mean() >= 0.85


@pytest.mark.slow
def test_shipped_weights_are_not_saturated(logits, held_out):
    probability = nnx.softmax(logits(held_out.clip))
    own = np.asarray(probability)[np.arange(64), held_out.target[:64]]
    assert 0.85 < own.mean() < 0.985


def test_without_the_target_the_answer_is_lost(answer, held_out):
    hidden = _held_out(show_target=False)
    np.testing.assert_array_equal(hidden.target, held_out.target)
    right = answer(hidden.clip) == hidden.target
    assert right.mean() <= 0.22  # Chance is 0.125, its standard deviation 0.021.


@pytest.mark.slow
def test_without_the_distractors_the_answer_stays(answer, held_out):
    alone = _held_out(show_distractor=False)
    assert (answer(alone.clip) == alone.target).mean() >= 0.95


def test_the_evidence_alone_keeps_the_answer(answer, held_out):
    kept = np.where(held_out.mask[..., None], held_out.clip, np.float32(0))
    removed = np.where(held_out.mask[..., None], np.float32(0), held_out.clip)
    assert (answer(kept) == held_out.target).mean() >= 0.95
    # A grey hole of the target's shape moves as the target did, and yet says nothing.
    assert (answer(removed) == held_out.target).mean() <= 0.25


def test_size_and_count():
    net = evidence(weights=None)
    leaves = jax.tree.leaves(nnx.state(net))
    assert sum(leaf.size for leaf in leaves) == 47_144
    file = importlib.resources.files("jaxattr_models") / "evidence.safetensors"
    assert len(file.read_bytes()) < 1_000_000


def test_header_of_the_shipped_weights_says_how_good_they_are():
    from safetensors import safe_open

    folder = importlib.resources.files("jaxattr_models")
    with (
        importlib.resources.as_file(folder / "evidence.safetensors") as path,
        safe_open(path, "numpy") as file,
    ):
        metadata = file.metadata()
    assert float(metadata["accuracy"].split()[0]) >= 0.95
    assert {"recipe", "seed", "versions"} <= set(metadata)


def test_spec_and_clips_speak_of_the_same(net):
    assert LABELS == net.spec.labels == clips_of.CLASSES
    shape = (net.spec.num_frames, *net.spec.size)
    assert shape == (clips_of.NUM_FRAMES, clips_of.HEIGHT, clips_of.WIDTH)
    assert net.spec.mean == (clips_of.MEAN,) * 3
    assert net.spec.std == (clips_of.STD,) * 3
    assert evidence(5, weights=None).spec.labels == ()


def test_forward_agrees_with_torch(net, logits, held_out):
    """The same network written in torch, from the shipped arrays."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    arrays = {
        "/".join(map(str, path)): torch.tensor(np.asarray(leaf.get_value()))
        for path, leaf in nnx.to_flat_state(nnx.state(net))
    }

    def norm(x, name):
        parts = [arrays[f"{name}/{part}"] for part in ("mean", "var", "scale", "bias")]
        return functional.relu(functional.batch_norm(x, *parts, eps=1e-5))

    def block(x, name):
        space = arrays[f"{name}/space/kernel"].permute(3, 2, 0, 1)[:, :, None]
        extra = (space.shape[-1] - 1) // 2, space.shape[-1] // 2
        x = functional.conv3d(functional.pad(x, extra * 2), space)
        time = arrays[f"{name}/time/kernel"].permute(3, 2, 0, 1)[..., None]
        x = norm(x, f"{name}/space_norm")
        return norm(functional.conv3d(x, time, padding=(1, 0, 0)), f"{name}/time_norm")

    clips = held_out.clip[:3]
    x = torch.tensor(clips).permute(0, 4, 1, 2, 3)
    cells = x.unfold(3, 4, 4).unfold(4, 4, 4)  # [B, C, T, 14, 14, 4, 4]
    x = cells.permute(0, 5, 6, 1, 2, 3, 4).flatten(1, 3)
    x = functional.avg_pool3d(block(x, "block1"), (1, 2, 2))
    x = functional.avg_pool3d(block(x, "block2"), (2, 1, 1))
    x = block(x, "block3").mean((2, 3, 4))
    expected = x @ arrays["head/kernel"] + arrays["head/bias"]
    np.testing.assert_allclose(logits(clips), expected, atol=1e-4)


@pytest.mark.slow
def test_any_leading_axes_and_vmap_and_jit(net, held_out):
    clips = jnp.asarray(held_out.clip[:6])
    expected = np.stack([net(clip) for clip in clips])
    for got in (
        net(clips),
        jax.vmap(net)(clips),
        jax.jit(lambda net, clips: net(clips))(net, clips),
        net(clips.reshape(2, 3, 16, 56, 56, 3)).reshape(6, 8),
    ):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.slow
def test_float64_is_wide_throughout(net, held_out):
    wide = evidence(dtype=jnp.float64)
    leaves = jax.tree.leaves(nnx.state(wide))
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float64)}
    clip = jnp.asarray(held_out.clip[0], jnp.float64)
    forward = jax.jit(lambda net, clip: net(clip))
    logits = forward(wide, clip)
    assert logits.dtype == jnp.float64
    np.testing.assert_allclose(logits, net(held_out.clip[0]), atol=1e-4)
    # The gradient against a central difference, in a random direction.
    direction = jnp.asarray(np.random.default_rng(0).normal(size=clip.shape))
    step = 1e-6
    high, low = (forward(wide, clip + h * direction) for h in (step, -step))
    slope = (high - low) / (2 * step)
    got = jax.jit(lambda x, dx: jax.jvp(wide, (x,), (dx,))[1])(clip, direction)
    np.testing.assert_allclose(got, slope, atol=1e-5)


def test_taps_are_named_with_the_shapes_of_the_spec(net):
    clip = jax.ShapeDtypeStruct((2, 16, 56, 56, 3), jnp.float32)
    jaxpr = jax.make_jaxpr(net)(clip)
    found = [
        (equation.params["name"], equation.outvars[0].aval.shape)
        for equation in jaxpr.eqns
        if equation.primitive.name == "name"
    ]
    assert found == [(name, (2, *shape)) for name, shape in net.spec.taps]
    assert net.spec.tap in dict(net.spec.taps)


def test_training_mode_updates_statistics_and_evaluation_does_not(held_out):
    net = evidence(weights=None)
    before = np.asarray(net.block2.time_norm.var[...])
    call = nnx.jit(lambda net, clips: net(clips))
    call(net, held_out.clip[:2])
    np.testing.assert_array_equal(net.block2.time_norm.var[...], before)
    net.train()
    call(net, held_out.clip[:2])
    assert np.abs(net.block2.time_norm.var[...] - before).max() > 1e-3
    net.eval()
    after = np.asarray(net.block2.time_norm.var[...])
    call(net, held_out.clip[:2])
    np.testing.assert_array_equal(net.block2.time_norm.var[...], after)


def test_wrong_input_is_refused(net):
    with pytest.raises(ValueError, match="`clip` must have an even number of frames"):
        net(jnp.zeros((15, 56, 56, 3), jnp.float32))
    with pytest.raises(ValueError, match=r"multiples of 8.*\(16, 56, 52, 3\)"):
        net(jnp.zeros((16, 56, 52, 3), jnp.float32))
    with pytest.raises(ValueError, match="`clip`"):
        net(jnp.zeros((16, 56, 56, 4), jnp.float32))
    with pytest.raises(TypeError, match="`clip`"):
        net(jnp.zeros((16, 56, 56, 3), jnp.uint8))
    with pytest.raises(ValueError, match="`num_classes` must be at least 1, got 0"):
        evidence(0)
