"""Relevance through `checkpoint`, `scan` and `cond` is that of the program without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr.rules import AlphaBeta, Gamma

RNG = np.random.default_rng(0)
CLIP = jnp.asarray(RNG.normal(size=(4, 3, 2, 3)))
STEM, HEAD = RNG.normal(size=(3, 5)), RNG.normal(size=(5, 2))
SHAPES = (5, 5), (5, 5), (1, 1, 1, 5), (1, 1, 1, 5)  # Kernel, gate, shift, scale.
LAYERS = [RNG.normal(size=(2, *shape)) for shape in SHAPES]
HERE = jnp.asarray(True)
METHODS = {
    "gamma": lambda f: jaxattr.lrp(f, Gamma(0.5), epsilon=0.01),
    "alpha_beta": lambda f: jaxattr.lrp(f, AlphaBeta(2.0, 1.0), epsilon=0.01),
    "deep_taylor": jaxattr.deep_taylor,
    "excitation": lambda f: jaxattr.excitation_backprop(f, "stem", contrastive=True),
}


def in_checkpoint(part):
    return jax.checkpoint(part)


def in_branch(part):
    def either(*operands):
        other = lambda *operands: 2 * part(*operands)
        return lax.cond(HERE, part, other, *operands)

    return either


def block(x, layer, wrap, wrap_layers):
    """A gated residual block, its every part wrapped by itself and all together."""
    kernel, gate, shift, scale = layer

    def gated(x):
        z = wrap_layers(lambda x: x @ kernel)(x)
        z = wrap_layers(lambda z: z + shift)(z)
        z = wrap_layers(lambda z: z * scale)(z)
        g = wrap(lambda x: jax.nn.sigmoid(x @ gate))(x)
        g = wrap(lambda g: 1 - g)(g)
        return x + wrap(lambda z, g: jax.nn.relu(z) * g)(z, g)

    return wrap(gated)(x)


def network(wrap=lambda part: part, wrap_layers=lambda part: part):
    def f(clip):
        x = checkpoint_name(jax.nn.relu(clip @ STEM), "stem")
        for layer in zip(*LAYERS):
            x = block(x, layer, wrap, wrap_layers)
        return x.mean((0, 1, 2)) @ HEAD

    return f


def scanned(clip):
    """The layers of `network` by a `scan` over stacked weights."""
    x = checkpoint_name(jax.nn.relu(clip @ STEM), "stem")
    keep = lambda part: part
    step = lambda x, layer: (block(x, layer, keep, keep), None)
    return lax.scan(jax.checkpoint(step), x, LAYERS)[0].mean((0, 1, 2)) @ HEAD


def over_frames(clip):
    """A gate for each frame, made before a `scan` over frames and used in it."""
    x = checkpoint_name(jax.nn.relu(clip @ STEM), "stem")
    gates = jax.nn.sigmoid(x @ LAYERS[1][0])
    step = lambda _, row: (None, (row[0] * row[1], jax.nn.sigmoid(row[0])))
    x, again = lax.scan(step, None, (x, gates))[1]
    return (x * again).mean((0, 1, 2)) @ HEAD


def all_frames(clip):
    x = checkpoint_name(jax.nn.relu(clip @ STEM), "stem")
    gates = jax.nn.sigmoid(x @ LAYERS[1][0])
    return (x * gates * jax.nn.sigmoid(x)).mean((0, 1, 2)) @ HEAD


PAIRS = {
    "checkpoint": (network(in_checkpoint, in_checkpoint), network()),
    "branch": (network(in_branch), network()),
    "scan over layers": (scanned, network()),
    "scan over frames": (over_frames, all_frames),
}


slow = pytest.mark.slow
CASES = [("checkpoint", method) for method in ("alpha_beta", "excitation")]
# Rules that meet a boundary as `AlphaBeta` does.
CASES += [pytest.param("checkpoint", m, marks=slow) for m in ("gamma", "deep_taylor")]
CASES += [(pair, "alpha_beta") for pair in PAIRS if pair != "checkpoint"]


@pytest.mark.parametrize(("pair", "method"), CASES)
def test_a_boundary_changes_nothing(pair, method):
    got, want = (METHODS[method](f)(CLIP, 1).values for f in PAIRS[pair])
    assert np.any(want)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_a_module_under_remat():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 3, (1, 2, 2), rngs=rngs)
            self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)

        def __call__(self, x):
            return self.conv(x)

    class Net(nnx.Module):
        def __init__(self, remat):
            self.block, self.remat = Block(nnx.Rngs(0)), remat

        def __call__(self, clip):
            call = nnx.remat(Block.__call__) if self.remat else Block.__call__
            x = self.block.norm(call(self.block, clip[None]))
            return jax.nn.relu(x).mean((0, 1, 2, 3))

    nets = [Net(remat) for remat in (True, False)]
    for net in nets:
        net.block.norm.bias[...] += 0.3
        net.block.norm.mean[...] += 0.2
    clip = CLIP.astype(jnp.float32)
    got, want = (jaxattr.lrp(net, "alpha_beta")(clip, 1).values for net in nets)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
