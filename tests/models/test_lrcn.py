"""The LRCN against recorded Keras answers, and against torch's convolution and LSTM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn import functional

import jaxattr_models as models
from jaxattr_models import weights

# Softmax over WalkingWithDog, PlayingGuitar, Swing, HorseRiding, as the data's README
# prints it.
ANSWERS = {
    "walking_with_dog": (0.996, 0.000, 0.001, 0.002),
    "playing_guitar_a": (0.000, 0.998, 0.001, 0.001),
    "playing_guitar_b": (0.002, 0.894, 0.011, 0.093),
    "playing_bass_guitar": (0.000, 0.999, 0.000, 0.000),
}


@pytest.fixture(scope="module")
def trained(shared_weights):
    return models.lrcn(weights=shared_weights / "ucf50_4cls_lrcn.safetensors")


@pytest.mark.parametrize("clip", ANSWERS)
def test_matches_keras_on_real_clips(trained, shared_weights, clip):
    golden = np.load(shared_weights / "ucf50_4cls_golden.npz")
    frames = jnp.asarray(golden[f"x_{clip}"] / np.float32(255), jnp.float32)
    probabilities = jax.nn.softmax(trained(frames))
    np.testing.assert_allclose(probabilities, golden[f"p_lrcn_{clip}"], atol=1e-5)
    # Printed to three digits, one of them rounded up.
    np.testing.assert_allclose(probabilities, ANSWERS[clip], atol=1e-3)


def test_our_own_file_is_the_same_network(trained, shared_weights, tmp_path):
    path = tmp_path / "converted.safetensors"
    source = shared_weights / "ucf50_4cls_lrcn.safetensors"
    models.convert(source, path, model="lrcn")
    again = models.build("lrcn", path)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again), nnx.state(trained))


def _randomise(net, seed):
    """Parameters of a size at which every gate and ReLU matters."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.2, leaf.dtype), net
    )


def _torch_forward(net, clip):
    """The same network in torch, for one clip; and its taps."""
    get = lambda variable: torch.from_numpy(np.array(variable[...]))
    x, taps = torch.from_numpy(clip).permute(0, 3, 1, 2), []
    for conv, pool in zip((net.conv0, net.conv1, net.conv2, net.conv3), (4, 4, 2, 2)):
        kernel = get(conv.kernel).permute(3, 2, 0, 1)
        x = functional.relu(functional.conv2d(x, kernel, get(conv.bias), padding=1))
        taps.append(x.permute(0, 2, 3, 1).numpy())
        x = functional.max_pool2d(x, pool)
    lstm = torch.nn.LSTM(64, 32, dtype=torch.float64)
    lstm.weight_ih_l0.data = get(net.lstm.kernel).T.contiguous()
    lstm.weight_hh_l0.data = get(net.lstm.recurrent_kernel).T.contiguous()
    lstm.bias_ih_l0.data = get(net.lstm.bias)
    lstm.bias_hh_l0.data = torch.zeros(128, dtype=torch.float64)
    with torch.no_grad():
        hidden = lstm(x.flatten(1))[0][-1]
    return (hidden @ get(net.dense.kernel) + get(net.dense.bias)).numpy(), taps[1:3]


def test_matches_torch_in_float64():
    net = _randomise(models.lrcn(num_classes=5, dtype=jnp.float64), seed=0)
    clips = np.random.default_rng(1).uniform(size=(2, 7, 64, 64, 3))
    logits, taps = _with_taps(net, jnp.asarray(clips))
    for index, clip in enumerate(clips):
        expected, expected_taps = _torch_forward(net, clip)
        np.testing.assert_allclose(logits[index], expected, rtol=1e-11, atol=1e-12)
        for name, value in zip(("conv1", "conv2"), expected_taps, strict=True):
            np.testing.assert_allclose(taps[name][index], value, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(net(jnp.asarray(clips[0])), logits[0], rtol=1e-11)


def _with_taps(net, clip):
    closed = jax.make_jaxpr(net)(clip)
    named = [e for e in closed.jaxpr.eqns if e.primitive.name == "name"]
    outputs = closed.jaxpr.outvars + [e.outvars[0] for e in named]
    program = closed.jaxpr.replace(outvars=outputs)
    logits, *taps = jax.core.eval_jaxpr(program, closed.consts, clip)
    return logits, dict(zip([e.params["name"] for e in named], taps, strict=True))


def test_parameter_count_and_spec():
    net = models.lrcn()
    assert sum(leaf.size for leaf in jax.tree.leaves(net)) == 73_060
    spec = net.spec
    assert spec.labels == ("WalkingWithDog", "PlayingGuitar", "Swing", "HorseRiding")
    assert (spec.num_frames, spec.size, spec.scale) == (20, (64, 64), 1 / 255)
    assert (spec.channel_order, spec.sampling, spec.short) == (
        "bgr",
        "uniform",
        "stretch",
    )
    _, taps = _with_taps(net, jnp.zeros((spec.num_frames, *spec.size, 3), jnp.float32))
    assert {name: tap.shape for name, tap in taps.items()} == dict(spec.taps)
    assert models.lrcn(num_classes=3).spec.labels == ()


@pytest.mark.slow
def test_is_an_argument_of_every_transformation():
    net = _randomise(models.lrcn(), seed=2)
    clips = jnp.asarray(
        np.random.default_rng(3).uniform(size=(2, 3, 64, 64, 3)), jnp.float32
    )
    call = lambda net, clip: net(clip)
    batched = jax.jit(jax.vmap(call, (None, 0)))(net, clips)
    np.testing.assert_allclose(batched, net(clips), rtol=1e-5, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda net: net(clips[0])[2]))(net)
    np.testing.assert_array_equal(gradient.dense.bias[...], np.eye(4)[2])
    assert np.abs(gradient.conv0.kernel[...]).max() > 0  # Through time and both taps.


def test_refuses_frames_of_another_size():
    with pytest.raises(ValueError, match=r"`clip`.*64 by 64.*\(20, 32, 64, 3\)"):
        models.lrcn()(jnp.zeros((20, 32, 64, 3), jnp.float32))


def test_names_are_the_source_names(shared_weights):
    arrays = weights.read_arrays(shared_weights / "ucf50_4cls_lrcn.safetensors")
    state = nnx.to_flat_state(nnx.state(models.lrcn()))
    assert set(arrays) == {"/".join(key) for key, _ in state}
