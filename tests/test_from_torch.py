"""PyTorch networks as networks, against torch's own autograd, captum and the port."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from captum.attr import IntegratedGradients

import jaxattr
import jaxattr_models as models

SHAPE, CLASSES = (3, 6, 8, 2), 5  # T, H, W, C all differ.


class Net(torch.nn.Module):
    """Curved in the clip, with batch norm and a count of its forward passes."""

    passes = 0
    layout = "BCTHW"

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = torch.nn.Conv3d(2, 7, 3, padding=1)
        self.norm = torch.nn.BatchNorm3d(7)
        self.head = torch.nn.Linear(7, CLASSES)
        self.norm.running_mean.normal_()

    def forward(self, clips):
        Net.passes += 1
        order = [self.layout.index(axis) for axis in "BCTHW"]
        x = torch.tanh(self.norm(self.conv(clips.permute(order))))
        return self.head((x**2 * 10).mean((2, 3, 4)))


def make(seed=0, dtype=torch.float64):
    module = Net(seed).eval().to(dtype)
    return module, jaxattr.from_torch(module)


def clips(count, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(dtype)


def theirs(module, batch, score):
    """Logits, and torch's gradient of the sum of scores, clips as ours."""
    given = torch.tensor(batch).permute(0, 4, 1, 2, 3).requires_grad_()
    logits = module(given)
    (gradient,) = torch.autograd.grad(score(logits).sum(), given)
    return logits.detach().numpy(), gradient.permute(0, 2, 3, 4, 1).numpy()


def log_prob(target):
    return (
        lambda logits: torch.log_softmax(logits, -1)[:, target],
        lambda logits: jax.nn.log_softmax(logits)[target],
    )


def test_logits_and_gradients_are_those_of_torch():
    module, network = make()
    batch = clips(6)
    for target in (0, 3):
        score, ours = log_prob(target)
        logits, gradient = theirs(module, batch, score)
        slope = jax.grad(lambda clip, ours=ours: ours(network(clip)))
        for got, want in [
            (network(batch[1]), logits[1]),
            (jax.jit(network)(batch[1]), logits[1]),
            (network(batch.reshape(2, 3, *SHAPE)), logits.reshape(2, 3, -1)),
            (slope(jnp.asarray(batch[1])), gradient[1]),
            (jax.jit(jax.vmap(slope))(batch), gradient),
            (
                jax.vmap(jax.vmap(slope))(batch.reshape(2, 3, *SHAPE)),
                gradient.reshape(2, 3, *SHAPE),
            ),
        ]:
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_the_layout_is_the_modules():
    batch = clips(1)
    _, want = theirs(make()[0], batch, lambda logits: logits[:, 1])
    for layout in ("BTCHW", "BTHWC", "BCHWT"):
        module = make()[0]
        module.layout = layout
        network = jaxattr.from_torch(module, layout=layout)
        got = jaxattr.saliency(network)(batch[0], 1).values
        np.testing.assert_allclose(got, want[0], rtol=1e-10, atol=1e-12)


def test_several_passes_before_the_first_gradient():
    module, network = make()
    a, b = clips(2)

    def both(pair):  # Two passes forward; what one kept is not the other's.
        return network(pair[0])[0] * network(pair[1])[0]

    got = jax.jit(jax.grad(both))((a, b))
    (la, lb), (ga, gb) = theirs(module, np.stack([a, b]), lambda z: z[:, 0])
    np.testing.assert_allclose(got[0], ga * lb[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got[1], gb * la[0], rtol=1e-10, atol=1e-12)


def test_what_another_clip_left_behind_is_not_used():
    module, network = make()
    a, b = clips(2)
    seed = jnp.eye(CLASSES)[2]
    value, pull = jax.vjp(network, jnp.asarray(a))
    _, other = jax.vjp(network, jnp.asarray(b))  # The pass that is kept now.
    logits, gradients = theirs(module, np.stack([a, b]), lambda z: z[:, 2])
    np.testing.assert_allclose(value, logits[0], rtol=1e-10)
    np.testing.assert_allclose(network(jnp.asarray(a)), logits[0], rtol=1e-10)
    # Torch frees a graph with its first gradient: it must not be kept for a second.
    for back, want in (
        (other, gradients[1]),
        (other, gradients[1]),
        (pull, gradients[0]),
    ):
        np.testing.assert_allclose(back(seed)[0], want, rtol=1e-10, atol=1e-12)


def test_a_gradient_is_one_forward_pass():
    _, network = make()
    clip = jnp.asarray(clips(1)[0])
    network(clip)  # K is known.
    for score in ("logit", "log_prob"):
        explain = jaxattr.saliency(network, score=score)
        go = jax.jit(lambda e, c, t: e(c, t).values)
        go(explain, clip, 2)
        before = Net.passes
        go(explain, 2 * clip, 2).block_until_ready()
        assert Net.passes == before + 1


def test_inside_a_loop():
    module, network = make()
    start = clips(1)
    step = lambda x, _: (x - 0.1 * jax.grad(lambda c: network(c)[2])(x), None)
    got, _ = jax.jit(lambda x: jax.lax.scan(step, x, length=3))(start[0])
    want = start
    for _ in range(3):
        want = want - 0.1 * theirs(module, want, lambda z: z[:, 2])[1]
    np.testing.assert_allclose(got, want[0], rtol=1e-10, atol=1e-12)


def test_methods_agree_with_captum():
    module, network = make()
    clip = clips(1)
    theirs = IntegratedGradients(module).attribute(
        torch.tensor(clip).permute(0, 4, 1, 2, 3),
        target=3,
        n_steps=20,
        method="riemann_middle",
    )
    for chunk in (1, 7):
        explain = jaxattr.integrated_gradients(network, num_steps=20, chunk=chunk)
        np.testing.assert_allclose(
            explain(clip[0], 3).values,
            theirs[0].permute(1, 2, 3, 0).detach().numpy(),
            rtol=1e-5,  # Its path is in float32.
            atol=1e-8,
        )


@pytest.mark.slow
def test_a_mask_keeps_what_decides():
    class Bright(torch.nn.Module):
        """Class 1 counts what is bright in one corner of the late frames."""

        def forward(self, clips):
            x = clips[:, 0, 2:, :8, :8].mean((1, 2, 3))
            return torch.stack([0 * x, 4 * x], -1)

    clip = jnp.ones((4, 16, 16, 1), jnp.float32)
    network = jaxattr.from_torch(Bright().eval())
    explain = jaxattr.step(network, areas=(0.125,), num_iterations=20)
    values = explain(clip, 1, key=jax.random.key(0)).values
    inside = values[2:, :8, :8].mean()
    assert inside > 3 * (values.sum() - inside * 128) / (values.size - 128)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_modules_give_float32(dtype):
    module, network = make(dtype=dtype)
    clip = jnp.asarray(clips(1)[0], jnp.bfloat16)
    got = jaxattr.saliency(network)(clip, 1).values
    assert network(clip).dtype == got.dtype == jnp.float32
    batch = np.asarray(clip, np.float32)[None]
    _, want = theirs(module.float(), batch, lambda z: z[:, 1])
    # The cotangent of a clip has its dtype: 8 bits of it are kept.
    tolerance = 2.0**-7 if dtype == torch.float32 else 0.1
    np.testing.assert_allclose(got, want[0], rtol=0, atol=tolerance * abs(want).max())


def test_the_module_stays_as_it_is():
    module, network = make()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    clip = jnp.asarray(clips(1)[0])
    before = jaxattr.saliency(network)(clip, 1).values
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(state[k], v) for k, v in module.state_dict().items())
    module.train()
    torch.nn.init.zeros_(module.head.weight)
    np.testing.assert_array_equal(jaxattr.saliency(network)(clip, 1).values, before)


def test_a_bad_target_is_refused_or_gives_nan():
    _, network = make()
    explain, clip = jaxattr.saliency(network), jnp.asarray(clips(1)[0])
    with pytest.raises(ValueError, match=r"`target`.*0\.\.4"):
        explain(clip, CLASSES)
    assert np.isnan(jax.jit(lambda t: explain(clip, t).values)(CLASSES)).all()


def test_what_it_does_not_do_is_said():
    module, network = make()
    with pytest.raises(TypeError, match=r"`module`.*function.*from_host"):
        jaxattr.from_torch(len)
    with pytest.raises(ValueError, match=r"`layout`.*'BCTH'"):
        jaxattr.from_torch(module, layout="BCTH")
    module.norm.train()
    with pytest.raises(ValueError, match=r"`module`.*training.*eval\(\)"):
        jaxattr.from_torch(module)
    clip = jnp.asarray(clips(1)[0])
    with pytest.raises(ValueError, match=r"`clip`.*BCTHW \(1, 3, 3, 6, 8\).*channels"):
        network(jnp.zeros((*SHAPE[:3], 3)))
    with pytest.raises(ValueError, match=r"`clip`.*\(6, 8, 2\)"):
        network(clip[0])
    with pytest.raises(ValueError, match=r"`module`.*logits \[B, K\].*\(1, 2, 3, 6"):
        jaxattr.from_torch(torch.nn.ReLU().eval())(clip)
    with pytest.raises(ValueError, match=r"from_torch.*first derivatives"):
        jax.hessian(lambda s: network(s * clip)[0])(1.0)


@pytest.mark.parametrize(
    "method",
    [
        *(jaxattr.guided_backprop, jaxattr.lrp, jaxattr.deep_lift),
        lambda f: jaxattr.grad_cam(f, "conv"),
        lambda f: lambda clip, target: jaxattr.list_taps(f, clip),
    ],
)
def test_methods_that_look_inside_refuse_it(method):
    _, network = make()
    with pytest.raises(ValueError, match=r"from_torch.*cannot look.*gradient, mask"):
        method(network)(jnp.asarray(clips(1)[0]), 0)


@pytest.mark.slow
def test_it_is_the_port_of_r2plus1d_18(tmp_path):
    torch.manual_seed(4)
    module = torchvision.models.video.r2plus1d_18(weights=None).eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.running_mean, std=0.2)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
    torch.save(module.state_dict(), tmp_path / "net.pth")
    port = models.r2plus1d_18(weights=tmp_path / "net.pth")
    clip = np.random.default_rng(0).normal(size=(8, 40, 32, 3)).astype(np.float32)
    bridge = jaxattr.from_torch(module)
    target = int(bridge(clip).argmax())
    for got, want in [
        (bridge(clip), jax.jit(lambda net, clip: net(clip))(port, clip)),
        *(
            [
                jaxattr.saliency(f, score=score)(clip, target).values
                for f in (bridge, port)
            ]
            for score in ("logit", "prob")
        ),
    ]:
        scale = np.abs(want).max()
        np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-5)
