"""The gradient family against captum, on the same network with converted weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from captum import attr
from flax import nnx
from torchvision.models import video

import jaxattr
import jaxattr_models

SHAPE = (4, 24, 32, 3)  # T, H, W, C all differ.
CLASSES, TARGET = 7, 5


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """torchvision's R(2+1)D-18 with random statistics, and ours with its weights."""
    torch.manual_seed(0)
    theirs = video.r2plus1d_18(num_classes=CLASSES).double().eval()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    for parameter in theirs.parameters():
        parameter.requires_grad_(False)
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save(theirs.state_dict(), path)
    ours = jaxattr_models.r2plus1d_18(CLASSES, path, dtype=jnp.float64)
    return theirs, ours


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(1).normal(size=SHAPE)


def to_torch(clip):
    return torch.tensor(
        np.asarray(clip).transpose(3, 0, 1, 2)[None], requires_grad=True
    )


def from_torch(attribution):
    return attribution.detach().numpy()[0].transpose(1, 2, 3, 0)


def assert_same(ours, theirs, tolerance=1e-9):
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)


def test_saliency(pair, clip):
    theirs, ours = pair
    want = attr.Saliency(theirs).attribute(to_torch(clip), TARGET, abs=False)
    got = jaxattr.saliency(ours)(jnp.asarray(clip), TARGET)
    assert_same(got.values, from_torch(want))


@pytest.mark.slow
def test_input_x_gradient_of_the_log_probability(pair, clip):
    theirs, ours = pair
    network = torch.nn.Sequential(theirs, torch.nn.LogSoftmax(dim=1))
    want = attr.InputXGradient(network).attribute(to_torch(clip), TARGET)
    got = jaxattr.input_x_gradient(ours, score="log_prob")(jnp.asarray(clip), TARGET)
    assert_same(got.values, from_torch(want))


@pytest.mark.slow
def test_integrated_gradients_at_midpoints(pair, clip):
    theirs, ours = pair
    baseline = np.random.default_rng(2).normal(size=SHAPE)
    want, delta = attr.IntegratedGradients(theirs).attribute(
        to_torch(clip),
        to_torch(baseline),
        TARGET,
        n_steps=3,
        method="riemann_middle",
        return_convergence_delta=True,
    )
    explain = jaxattr.integrated_gradients(ours, baseline=baseline, num_steps=3)
    got = explain(jnp.asarray(clip), TARGET)
    assert_same(got.values, from_torch(want), 1e-7)  # Its levels are float32.
    np.testing.assert_allclose(got.residual, -delta.item(), rtol=1e-6)


@pytest.mark.slow
def test_smooth_grad_without_noise_is_captum_s_noise_tunnel(pair, clip):
    theirs, ours = pair
    tunnel = attr.NoiseTunnel(attr.Saliency(theirs))
    want = tunnel.attribute(
        to_torch(clip), nt_samples=2, nt_type="smoothgrad_sq", stdevs=0.0,
        target=TARGET, abs=False,
    )  # fmt: skip
    explain = jaxattr.smooth_grad(ours, num_samples=2, noise=0.0, kind="squared")
    got = explain(jnp.asarray(clip), TARGET, key=jax.random.key(0))
    assert_same(got.values, from_torch(want))


@pytest.mark.slow
def test_expected_gradients_of_one_baseline_approach_integrated_gradients(pair, clip):
    theirs, ours = pair
    baseline = np.zeros(SHAPE)
    want = attr.IntegratedGradients(theirs).attribute(
        to_torch(clip), to_torch(baseline), TARGET, n_steps=24, method="riemann_middle"
    )
    explain = jaxattr.expected_gradients(ours, baselines=baseline[None], num_samples=24)
    got = explain(jnp.asarray(clip), TARGET, key=jax.random.key(0))
    want = from_torch(want)
    correlation = np.corrcoef(np.ravel(got.values), want.ravel())[0, 1]
    assert correlation > 0.98


def test_the_network_is_the_caller_s_still(pair, clip):
    _, ours = pair
    before = jax.tree.map(np.asarray, nnx.state(ours))
    jaxattr.saliency(ours)(jnp.asarray(clip), TARGET)
    after = jax.tree.map(np.asarray, nnx.state(ours))
    jax.tree.map(np.testing.assert_array_equal, before, after)
