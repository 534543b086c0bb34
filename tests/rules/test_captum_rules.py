"""Rules and layers against captum, on the same network with converted weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from captum import attr
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr

SHAPE = (6, 14, 18, 3)  # T, H, W, C all differ.
CLASSES, TARGET = 5, 3


class Theirs(torch.nn.Module):
    """Two 3-D convolutions with statistics, a residual, max-pool and a linear head."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv3d(3, 4, 3, padding=1)
        self.norm1 = torch.nn.BatchNorm3d(4)
        self.relu1 = torch.nn.ReLU()
        self.conv2 = torch.nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1))
        self.relu2 = torch.nn.ReLU()
        self.pool = torch.nn.MaxPool3d((1, 2, 2))
        self.conv3 = torch.nn.Conv3d(4, 6, (3, 1, 1), stride=(2, 1, 1))
        self.relu3 = torch.nn.ReLU()
        self.head = torch.nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(x + self.conv2(x))
        x = self.relu3(self.conv3(self.pool(x)))
        return self.head(x.mean((2, 3, 4)))


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    theirs = Theirs().double().eval()
    theirs.norm1.running_mean.normal_(0, 0.3)
    theirs.norm1.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        theirs.norm1.weight.uniform_(0.5, 1.5)
        theirs.norm1.bias.normal_(0, 0.3)
    weights = {name: jnp.asarray(v.numpy()) for name, v in theirs.state_dict().items()
               if v.ndim}  # fmt: skip

    def conv(x, name, stride=(1, 1, 1), padding=((0, 0),) * 3):
        kernel = weights[f"{name}.weight"].transpose(2, 3, 4, 1, 0)
        numbers = ("NDHWC", "DHWIO", "NDHWC")
        y = lax.conv_general_dilated(
            x, kernel, stride, padding, dimension_numbers=numbers
        )
        return y + weights[f"{name}.bias"][None, None, None, None]

    def norm(x, name):
        scale, bias, mean, var = (
            weights[f"{name}.{part}"][None, None, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    def ours(clip):
        x = conv(clip[None], "conv1", padding=((1, 1),) * 3)
        x = jnp.maximum(norm(x, "norm1"), 0)
        x = jnp.maximum(x + conv(x, "conv2", padding=((0, 0), (1, 1), (1, 1))), 0)
        window = (1, 1, 2, 2, 1)
        x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        x = jnp.maximum(conv(x, "conv3", stride=(2, 1, 1)), 0)
        x = checkpoint_name(x, "conv3")
        return x.mean((1, 2, 3))[0] @ weights["head.weight"].T + weights["head.bias"]

    return theirs, ours


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(1).normal(size=SHAPE)


def to_torch(clip):
    return torch.tensor(clip.transpose(3, 0, 1, 2)[None], requires_grad=True)


def from_torch(attribution):
    return attribution.detach().numpy()[0].transpose(1, 2, 3, 0)


def test_the_networks_are_one(pair, clip):
    theirs, ours = pair
    want = theirs(to_torch(clip)).detach().numpy()[0]
    np.testing.assert_allclose(ours(jnp.asarray(clip)), want, rtol=1e-10)


@pytest.mark.parametrize(
    ("method", "theirs_of"),
    [
        (jaxattr.guided_backprop, attr.GuidedBackprop),
        (jaxattr.deconvnet, attr.Deconvolution),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_backward_through_relus(pair, clip, method, theirs_of):
    theirs, ours = pair
    want = from_torch(theirs_of(theirs).attribute(to_torch(clip), TARGET))
    got = method(ours)(jnp.asarray(clip), TARGET).values
    plain = jaxattr.saliency(ours)(jnp.asarray(clip), TARGET).values
    assert np.abs(want - plain).max() > 0.1 * np.abs(want).max()
    np.testing.assert_allclose(got, want, atol=1e-9 * np.abs(want).max())


@pytest.mark.parametrize("relu", [False, True])
def test_grad_cam(pair, clip, relu):
    theirs, ours = pair
    cam = attr.LayerGradCam(theirs, theirs.relu3)
    explain = jaxattr.grad_cam(ours, "conv3", relu=relu, resize=False)
    largest = 0
    for target in range(CLASSES):
        want = cam.attribute(to_torch(clip), target, relu_attributions=relu)
        want = want.detach().numpy()[0, 0]
        got = explain(jnp.asarray(clip), target).values
        np.testing.assert_allclose(got, want, atol=1e-10)
        largest = max(largest, np.abs(want).max())
    assert largest > 1e-3


def test_gradient_times_activation(pair, clip):
    theirs, ours = pair
    layer = attr.LayerGradientXActivation(theirs, theirs.relu3)
    want = layer.attribute(to_torch(clip), TARGET).detach().numpy()[0].sum(0)
    got = jaxattr.hires_cam(ours, "conv3")(jnp.asarray(clip), TARGET).cells
    np.testing.assert_allclose(got, want, atol=1e-9 * np.abs(want).max())


class Flat(torch.nn.Module):
    """A 2-D network with a norm that computes its statistics."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.GroupNorm(2, 4, eps=1e-6)
        self.relu1 = torch.nn.ReLU()
        self.conv2 = torch.nn.Conv2d(4, 6, (1, 3))
        self.relu2 = torch.nn.ReLU()
        self.head = torch.nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.relu1(self.norm(self.conv1(x)))
        return self.head(self.relu2(self.conv2(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def flat():
    """The network of torch, and Flax's on a clip of one frame."""
    torch.manual_seed(1)
    theirs = Flat().double().eval()
    kinds = {"rngs": nnx.Rngs(0), "dtype": jnp.float64, "param_dtype": jnp.float64}
    norm = nnx.GroupNorm(4, num_groups=2, **kinds)
    conv1 = nnx.Conv(3, 4, (3, 3), **kinds)
    conv2 = nnx.Conv(4, 6, (1, 3), padding="VALID", **kinds)
    head = nnx.Linear(6, CLASSES, **kinds)
    for ours, name in ((conv1, "conv1"), (conv2, "conv2"), (head, "head")):
        layer = getattr(theirs, name)
        kernel = layer.weight.detach().numpy()
        order = (2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)
        ours.kernel[...] = jnp.asarray(kernel.transpose(order))
        ours.bias[...] = jnp.asarray(layer.bias.detach().numpy())

    def f(clip):
        x = jax.nn.relu(norm(conv1(clip)))
        x = checkpoint_name(jax.nn.relu(conv2(x)), "conv2")
        return head(x.mean((1, 2)))[0]

    return theirs, f


FRAME = np.random.default_rng(2).normal(size=(1, 7, 9, 3))


@pytest.mark.parametrize(
    ("method", "theirs_of"),
    [
        (jaxattr.guided_backprop, attr.GuidedBackprop),
        (jaxattr.deconvnet, attr.Deconvolution),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_two_dimensions_and_a_norm(flat, method, theirs_of, loose_promotion):
    # The maximum of a variance and 0 in Flax's norm is no ReLU.
    theirs, ours = flat
    x = torch.tensor(FRAME.transpose(0, 3, 1, 2), requires_grad=True)
    np.testing.assert_allclose(ours(FRAME), theirs(x).detach().numpy()[0], rtol=1e-9)
    want = theirs_of(theirs).attribute(x, TARGET).detach().numpy()
    got = method(ours)(FRAME, TARGET).values
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want.transpose(0, 2, 3, 1), atol=1e-9 * scale)


def test_grad_cam_in_two_dimensions(flat, loose_promotion):
    theirs, ours = flat
    x = torch.tensor(FRAME.transpose(0, 3, 1, 2), requires_grad=True)
    cam = attr.LayerGradCam(theirs, theirs.relu2)
    want = cam.attribute(x, TARGET).detach().numpy()[:, 0]
    got = jaxattr.grad_cam(ours, "conv2", relu=False, resize=False)(FRAME, TARGET)
    np.testing.assert_allclose(got.values, want, atol=1e-10)
    assert np.abs(want).max() > 1e-3
