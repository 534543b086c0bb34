import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import torch
from jax.ad_checkpoint import checkpoint_name

from jaxattr.perturbation import perceptual_ball

SHAPE = (2, 3, 4, 2)
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
FIRST = RNG.normal(size=(2, 5))
SECOND = RNG.normal(size=(2, 3, 4, 5, 3)) / 3


def network(clip):
    hidden = checkpoint_name(jnp.tanh(clip @ jnp.asarray(FIRST, clip.dtype)), "hidden")
    return jnp.tensordot(hidden, jnp.asarray(SECOND, clip.dtype), 4)


@pytest.mark.parametrize("target", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_linear_margin_has_a_closed_form(target):
    slope = jnp.array([1.0, 2, 0, -1])

    def f(clip):  # Margin 3 + a d at clip + d.
        margin = 3 + slope @ (clip.ravel() - 1)
        return jnp.stack([margin, jnp.zeros(())])[:: 1 if target == 0 else -1]

    explain = perceptual_ball(f, layers=(), num_iterations=20)
    result = explain(jnp.ones((1, 2, 2, 1)), target)
    np.testing.assert_allclose(result.values.ravel(), [-0.8, -1.6, 0, 0.8], rtol=1e-7)
    np.testing.assert_allclose(result.reached, -1.8, rtol=1e-7)
    np.testing.assert_allclose(result.original, 3)


def torch_loss(x, perceptual, proximity, level, target):
    def look(clip):
        hidden = torch.tanh(clip @ torch.tensor(FIRST))
        return torch.tensordot(hidden, torch.tensor(SECOND), 4), hidden

    clip = torch.tensor(CLIP)
    logits, hidden = look(x)
    others = torch.cat([logits[:target], logits[target + 1 :]])
    loss = (logits[target] - others.max() - level) ** 2
    loss = loss + proximity * ((x - clip) ** 2).mean()
    return loss + perceptual * ((hidden - look(clip)[1]) ** 2).mean()


@pytest.mark.parametrize("target", [0, 1, 2])
def test_the_minimum_is_that_of_scipy(target):
    settings = {"perceptual": 3.0, "proximity": 2.0, "level": -0.5}
    explain = perceptual_ball(network, layers=("hidden",), **settings)
    result = explain(CLIP, target)

    def slope(x):
        x = torch.tensor(x.reshape(SHAPE), requires_grad=True)
        loss = torch_loss(x, **settings, target=target)
        loss.backward()
        return loss.item(), x.grad.numpy().ravel()

    exact = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000}
    peer = scipy.optimize.minimize(
        slope, CLIP.ravel(), jac=True, method="L-BFGS-B", options=exact
    )
    ours = slope(np.asarray(result.changed))[0]
    np.testing.assert_allclose(ours, peer.fun, rtol=1e-4)
    np.testing.assert_allclose(result.changed.ravel(), peer.x, atol=5e-3)
    parts = (result.reached + 0.5) ** 2 + 3 * result.perceptual + 2 * result.distance
    np.testing.assert_allclose(parts, ours, rtol=1e-9)
    np.testing.assert_allclose(result.values, np.asarray(result.changed) - CLIP)
    assert abs(result.reached + 0.5) < abs(result.original + 0.5)


def test_only_what_the_network_sees_is_changed():
    def f(clip):
        seen = checkpoint_name(jnp.tanh(clip[1, :2]), "seen")
        return jnp.stack([seen.sum(), jnp.zeros(())])

    result = perceptual_ball(f, layers=("seen",), perceptual=1.0)(CLIP, 0)
    changed = np.abs(result.values) > 1e-9
    assert changed[1, :2].all()
    assert not changed[0].any()
    assert not changed[1, 2:].any()


def test_a_larger_ball_of_layers_holds_on():
    loose, tight = (
        perceptual_ball(network, layers=("hidden",), perceptual=weight)(CLIP, 1)
        for weight in (0.0, 100.0)
    )
    assert tight.perceptual < loose.perceptual
    assert tight.reached > loose.reached


@pytest.mark.slow
def test_a_bad_traced_target_gives_nan_everywhere():
    explain = perceptual_ball(network, layers=("hidden",), num_iterations=1)
    result = jax.jit(lambda t: explain(jnp.asarray(CLIP), t))(3)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(result))


def test_bad_settings_are_named():
    for name, value in {
        "layers": "hidden",
        "perceptual": -1.0,
        "proximity": "near",
        "num_iterations": 0,
        "level": None,
    }.items():
        with pytest.raises(ValueError, match=f"`{name}`"):
            perceptual_ball(network, **{"layers": ("hidden",), name: value})
    with pytest.raises(ValueError, match=r"`layers` 'hiden'.*'hidden'"):
        perceptual_ball(network, layers=("hiden",))(CLIP, 0)
    for layers in (None, 3):
        with pytest.raises(ValueError, match="`layers`"):
            perceptual_ball(network, layers=layers)
