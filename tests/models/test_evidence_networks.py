"""The four networks for the families of evidence clips, against the same in torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn import functional

import jaxattr_models as models

NAMES = (
    "evidence_factored",
    "evidence_3d",
    "evidence_lstm",
    "evidence_transformer",
)


@pytest.fixture(scope="module", params=NAMES)
def net(request):
    """A network in float64 whose every parameter and statistic matters."""
    net = models.build(request.param, None, num_classes=5, dtype=jnp.float64)
    rng = np.random.default_rng(0)
    state = nnx.to_flat_state(nnx.state(net))
    for path, variable in state:
        value = np.asarray(variable.get_value())
        noise = rng.uniform(0.5, 1.5, value.shape) - 1
        scale = 1 if path[-1] == "var" else max(float(np.abs(value).mean()), 0.3)
        variable.set_value(jnp.asarray(value + 0.8 * scale * noise))
    nnx.update(net, nnx.from_flat_state(state))
    return net


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(1)
    return rng.normal(size=(2, 16, 56, 56, 3))


@jax.jit
def forward(net, clips):
    return net(clips)


@pytest.fixture(scope="module")
def logits(net, clips):
    """Compiled, with every kind of leading axes the same."""
    return np.asarray(forward(net, jnp.asarray(clips)))


class _Torch:
    """The networks written in torch, channels first, from the arrays of ours."""

    def __init__(self, net):
        self.arrays = {
            "/".join(map(str, path)): torch.tensor(np.asarray(leaf.get_value()))
            for path, leaf in nnx.to_flat_state(nnx.state(net))
        }

    def __call__(self, name, clips):
        with torch.no_grad():
            # [B, C, T, H, W] to cells of 4 x 4 pixels: [B, 48, T, 14, 14].
            x = torch.tensor(clips).permute(0, 4, 1, 2, 3)
            cells = x.unfold(3, 4, 4).unfold(4, 4, 4)
            cells = cells.permute(0, 5, 6, 1, 2, 3, 4).flatten(1, 3)
            x = getattr(self, name)(cells)
            return (x @ self.arrays["head/kernel"] + self.arrays["head/bias"]).numpy()

    def linear(self, x, name):
        kernel, bias = (self.arrays[f"{name}/{part}"] for part in ("kernel", "bias"))
        return functional.linear(x, kernel.T, bias)

    def layer_norm(self, x, name):
        scale, bias = (self.arrays[f"{name}/{part}"] for part in ("scale", "bias"))
        return functional.layer_norm(x, x.shape[-1:], scale, bias, eps=1e-6)

    def unit(self, x, conv, norm):
        """Convolution with TensorFlow's SAME padding, batch norm, ReLU."""
        kernel = self.arrays[f"{conv}/kernel"]
        while kernel.ndim < 5:  # Of space only: one frame.
            kernel = kernel[None]
        kernel = kernel.permute(4, 3, 0, 1, 2)
        sizes = kernel.shape[:1:-1]  # From the last axis to the first, as `pad` has it.
        pads = [side for n in sizes for side in ((n - 1) // 2, n // 2)]
        x = functional.conv3d(functional.pad(x, pads), kernel)
        parts = ("mean", "var", "scale", "bias")
        arrays = [self.arrays[f"{norm}/{part}"] for part in parts]
        return functional.relu(functional.batch_norm(x, *arrays, eps=1e-5))

    def evidence_factored(self, x):
        def block(x, name):
            x = self.unit(x, f"{name}/space", f"{name}/space_norm")
            time = f"{name}/time/kernel"
            # Ours spans (time, pixels in a row); here it spans time, height and width.
            if self.arrays[time].ndim == 4:
                self.arrays[time] = self.arrays[time][:, :, None]
            return self.unit(x, f"{name}/time", f"{name}/time_norm")

        x = functional.avg_pool3d(block(x, "block1"), (1, 2, 2))
        x = functional.avg_pool3d(block(x, "block2"), (2, 1, 1))
        x = functional.avg_pool3d(block(x, "block3"), (2, 1, 1))
        return block(x, "block4").mean((2, 3, 4))

    def evidence_3d(self, x):
        block = lambda x, name: self.unit(x, f"{name}/conv", f"{name}/norm")
        x = functional.avg_pool3d(block(x, "block1"), (1, 2, 2))
        x = functional.avg_pool3d(block(x, "block2"), (2, 1, 1))
        x = functional.avg_pool3d(block(x, "block3"), (2, 1, 1))
        return block(x, "block4").mean((2, 3, 4))

    def evidence_lstm(self, x):
        block = lambda x, name: self.unit(x, f"{name}/conv", f"{name}/norm")
        x = functional.avg_pool3d(block(x, "block1"), (1, 2, 2))
        x = block(block(x, "block2"), "block3")
        x = x.permute(0, 2, 3, 4, 1).flatten(2)
        x = functional.relu(self.linear(x, "frame"))
        units = self.arrays["lstm/recurrent_kernel"].shape[0]
        lstm = torch.nn.LSTM(x.shape[-1], units, batch_first=True, dtype=x.dtype)
        lstm.weight_ih_l0.data = self.arrays["lstm/kernel"].T.contiguous()
        lstm.weight_hh_l0.data = self.arrays["lstm/recurrent_kernel"].T.contiguous()
        lstm.bias_ih_l0.data = self.arrays["lstm/bias"]
        lstm.bias_hh_l0.data = torch.zeros_like(self.arrays["lstm/bias"])
        return lstm(x)[0][:, -1]

    def evidence_transformer(self, x):
        x = self.unit(x, "cell/conv", "cell/norm")  # [B, C, T, H, W]
        tubes = x.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2)
        x = tubes.permute(0, 2, 3, 4, 5, 6, 7, 1).flatten(4)  # Times, rows, columns.
        x = self.linear(x.flatten(2, 3), "embed")
        x = x + self.arrays["time_positions"][:, None] + self.arrays["place_positions"]
        for name in ("layer1", "layer2"):
            by_place = self.layer_norm(x, f"{name}/time_norm").transpose(1, 2)
            x = x + self.attention(by_place, f"{name}/time").transpose(1, 2)
            normed = self.layer_norm(x, f"{name}/space_norm")
            x = x + self.attention(normed, f"{name}/space")
            hidden = self.linear(
                self.layer_norm(x, f"{name}/mlp_norm"), f"{name}/mlp_in"
            )
            hidden = functional.gelu(hidden, approximate="tanh")
            x = x + self.linear(hidden, f"{name}/mlp_out")
        return self.layer_norm(x, "norm").mean((1, 2))

    def attention(self, x, name):
        width = x.shape[-1]
        peer = torch.nn.MultiheadAttention(width, 2, batch_first=True, dtype=x.dtype)
        inward = [f"{name}/{part}" for part in ("query", "key", "value")]
        kernels = [self.arrays[f"{part}/kernel"].T for part in inward]
        peer.in_proj_weight.data = torch.cat(kernels)
        peer.in_proj_bias.data = torch.cat([self.arrays[f"{n}/bias"] for n in inward])
        peer.out_proj.weight.data = self.arrays[f"{name}/out/kernel"].T.contiguous()
        peer.out_proj.bias.data = self.arrays[f"{name}/out/bias"]
        tokens = x.flatten(0, 1)
        return peer(tokens, tokens, tokens, need_weights=False)[0].reshape(x.shape)


def test_forward_agrees_with_torch(net, clips, logits):
    expected = _Torch(net)(net.name, clips)
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_any_leading_axes_and_vmap_and_jit(net, clips, logits):
    many = jnp.asarray(clips)
    for got in (
        jnp.stack([net(clip) for clip in many]),
        jax.jit(jax.vmap(net))(many),
        net(many[None])[0],
    ):
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, logits, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_gradient_agrees_with_a_central_difference(net, clips):
    clip = jnp.asarray(clips[0])
    direction = jnp.asarray(np.random.default_rng(2).normal(size=clip.shape))
    step = 1e-6
    slope = (net(clip + step * direction) - net(clip - step * direction)) / (2 * step)
    got = jax.jvp(net, (clip,), (direction,))[1]
    np.testing.assert_allclose(got, slope, rtol=1e-4, atol=1e-4)


def test_taps_are_named_with_the_shapes_of_the_spec(net):
    clip = jax.ShapeDtypeStruct((2, 16, 56, 56, 3), jnp.float32)
    found = [
        (equation.params["name"], equation.outvars[0].aval.shape)
        for equation in jax.make_jaxpr(net)(clip).eqns
        if equation.primitive.name == "name"
    ]
    assert found == [(name, (2, *shape)) for name, shape in net.spec.taps]
    assert net.spec.tap in dict(net.spec.taps)


def test_spec_fits_the_clips(net):
    from jaxattr.data import evidence

    assert (net.spec.num_frames, *net.spec.size) == (16, 56, 56)
    assert net.spec.mean == (evidence.MEAN,) * 3
    assert net.spec.std == (evidence.STD,) * 3
    assert net.spec.labels == ()  # Five classes have no names.


def test_training_mode_updates_statistics_and_evaluation_does_not(clips):
    net = models.build("evidence_transformer", None)
    clip = jnp.asarray(clips[:1], jnp.float32)
    before = np.asarray(net.cell.norm.var[...])
    call = nnx.jit(lambda net, clip: net(clip))
    call(net, clip)
    np.testing.assert_array_equal(net.cell.norm.var[...], before)
    net.train()
    call(net, clip)
    assert np.abs(net.cell.norm.var[...] - before).max() > 1e-3


def test_an_lstm_begins_by_remembering():
    net = models.build("evidence_lstm", None)
    expected = np.repeat([0.0, 1.0, 0.0, 0.0], 64)
    np.testing.assert_array_equal(net.lstm.bias[...], expected)


def test_random_parameters_neither_vanish_nor_explode(net, clips):
    fresh = models.build(net.name, None, seed=3)
    other = models.build(net.name, None, seed=4)
    clip = jnp.asarray(clips[0], jnp.float32)
    logits = np.asarray(forward(fresh, clip))
    assert 0.01 < logits.std() < 10
    assert np.abs(logits - forward(other, clip)).max() > 1e-3


def test_wrong_input_is_refused(net):
    with pytest.raises(ValueError, match=r"`clip` must be \[..., 16, 56, 56, 3\]"):
        net(jnp.zeros((15, 56, 56, 3)))
    with pytest.raises(ValueError, match=r"`clip`.*\(16, 56, 52, 3\)"):
        net(jnp.zeros((16, 56, 52, 3)))
    with pytest.raises(ValueError, match="`clip`"):
        net(jnp.zeros((16, 56, 56, 4)))
    with pytest.raises(TypeError, match="`clip`"):
        net(jnp.zeros((16, 56, 56, 3), jnp.uint8))
    with pytest.raises(ValueError, match="`num_classes` must be at least 1, got 0"):
        models.build(net.name, None, num_classes=0)
