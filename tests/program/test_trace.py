import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxattr.program import fold_convs, trace

CLIP = np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype(np.float32)
CALLS = []


class Recurrent(nnx.Module):
    """Convolution, batch norm, dropout, and an RNN that draws a key at every call."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
        self.rnn = nnx.RNN(nnx.LSTMCell(4, 5, rngs=rngs), rngs=rngs)
        self.head = nnx.Linear(5, 6, rngs=rngs)

    def __call__(self, clip):
        CALLS.append(clip)
        x = nnx.relu(self.norm(self.conv(clip[None])))
        x = self.dropout(self.rnn(x.mean((2, 3))))
        return self.head(x[0, -1])


class Plain(nn.Module):
    @nn.compact
    def __call__(self, clip):
        CALLS.append(clip)
        x = nn.relu(nn.Conv(4, (3, 3, 3), strides=(2, 1, 2))(clip[None]))
        return nn.Dense(6)(x.mean((0, 1, 2, 3)))


def make_nnx():
    network = Recurrent(nnx.Rngs(0))
    return network, nnx.clone(network)


def make_linen():
    module = Plain()
    variables = module.init(jax.random.key(0), CLIP)
    return (
        jax.tree_util.Partial(module.apply, variables),
        functools.partial(module.apply, variables),
    )


def make_function():
    kernel = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3, 3, 3, 6)) * 0.1)

    def network(clip):
        CALLS.append(clip)
        x = lax.conv_general_dilated(
            clip[None],
            kernel.astype(clip.dtype),
            (1, 2, 1),
            "SAME",
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )
        return jnp.tanh(x).mean((0, 1, 2, 3))

    return network, network


MAKERS = [make_nnx, make_linen, make_function]
slow = pytest.mark.slow
pytestmark = pytest.mark.usefixtures("loose_promotion")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "fold", [None, pytest.param(True, marks=slow), pytest.param(False, marks=slow)]
)
def test_any_kind_of_network(make, fold):
    network, reference = make()
    traced = trace(network, CLIP, fold=fold)
    expected = reference(CLIP)
    assert (traced.output.shape, traced.output.dtype) == ((6,), expected.dtype)
    np.testing.assert_allclose(traced(CLIP), expected, rtol=1e-5, atol=1e-6)
    folded = jax.jit(lambda f, x: f(x))(fold_convs(network), CLIP)
    np.testing.assert_allclose(folded, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make", [make_nnx, *(pytest.param(make, marks=slow) for make in MAKERS[1:])]
)
def test_python_runs_once_for_loop_gradient_and_batch(make):
    network, _ = make()
    arrays, tree = jax.tree.flatten(network)
    is_function = make is make_function

    @jax.jit
    def core(arrays, clip):
        traced = trace(
            network if is_function else jax.tree.unflatten(tree, arrays), clip
        )
        slope = jax.grad(lambda x: traced(x)[1])
        moved, _ = lax.scan(lambda x, _: (x + slope(x), None), clip, None, length=3)
        tangent = jax.jvp(traced, (clip,), (clip,))[1]
        return moved, jax.vmap(traced)(jnp.stack([clip, moved])), tangent

    CALLS.clear()
    arrays = [] if is_function else arrays
    moved, logits, tangent = core(arrays, CLIP)
    assert len(CALLS) == 1
    batched = jax.vmap(core, (None, 0))(arrays, np.stack([CLIP, CLIP + 1]))
    for one, many in zip((moved, logits, tangent), batched, strict=True):
        np.testing.assert_allclose(one, many[0], rtol=2e-5, atol=2e-6)
    assert len(CALLS) == 1  # One clip of a vmap has the same avals.


def test_calls_share_one_evaluation():
    """Two calls are two calls of one inner function, not the program written twice."""
    network, _ = make_nnx()

    def core(clip):
        traced = trace(network, clip)
        return traced(clip) + traced(2 * clip)

    program = jax.make_jaxpr(core)(CLIP)
    inner = [e.params["jaxpr"] for e in program.eqns if e.primitive.name == "jit"]
    assert len(inner) == 2
    assert inner[0] is inner[1]


def test_weights_are_no_constants_of_the_program():
    network = nnx.Sequential(
        nnx.Conv(3, 64, (3, 3, 3), rngs=nnx.Rngs(0)),
        lambda x: x.mean((0, 1, 2)),
        nnx.Linear(64, 400, rngs=nnx.Rngs(1)),
    )

    def core(network, clip):
        traced = trace(network, clip)
        slope = jax.grad(lambda x: traced(x)[1])
        return lax.scan(lambda x, _: (slope(x), None), clip, None, length=2)[0]

    for f in (network, fold_convs(network)):
        text = jax.jit(core).lower(f, CLIP).as_text()
        constants = re.findall(r"stablehlo.constant dense<(.*?)>", text)
        assert max(map(len, constants)) < 100


def test_folded_network_is_one_entry_of_the_compile_cache():
    network, _ = make_linen()
    run = jax.jit(lambda f, x: f(x))
    CALLS.clear()
    for scale in (1, 2):
        scaled = jax.tree.map(lambda a, s=scale: a * s, network)
        run(fold_convs(scaled), CLIP)
    assert len(CALLS) == 1


def test_clip_and_output_may_be_pytrees():
    def network(clip):
        return {"sum": clip["rgb"].sum(), "flow": [clip["flow"] * 2]}

    clip = {"rgb": CLIP, "flow": CLIP[..., :2]}
    traced = trace(network, clip)
    assert jax.tree.structure(traced.output) == jax.tree.structure(network(clip))
    got = jax.grad(lambda c: traced(c)["sum"] + traced(c)["flow"][0].sum())(clip)
    np.testing.assert_array_equal(got["rgb"], np.ones_like(CLIP))
    np.testing.assert_array_equal(got["flow"], np.full_like(CLIP[..., :2], 2))


def test_trace_needs_shapes_only():
    traced = trace(jnp.square, jax.ShapeDtypeStruct((2, 3), jnp.float32))
    np.testing.assert_array_equal(traced(CLIP[0, :2, :3, 0]), CLIP[0, :2, :3, 0] ** 2)


@pytest.mark.parametrize("other", [CLIP[:4], CLIP.astype(np.float64), {"rgb": CLIP}])
def test_another_clip_is_refused(other):
    traced = trace(lambda x: jax.tree.leaves(x)[0].sum(), CLIP)
    with pytest.raises(ValueError, match=r"`clip` must be .*float32\[5, 6, 7, 3\]"):
        traced(other)


@pytest.mark.parametrize("transform", [fold_convs, lambda f: trace(f, CLIP)])
def test_a_network_must_be_callable(transform):
    with pytest.raises(TypeError, match="`f` must be a callable network, got dict"):
        transform({"kernel": CLIP})
