"""Relevance propagation against worked numbers, slow loops and captum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from captum import attr
from captum.attr._utils import lrp_rules
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr.rules import AlphaBeta, Bounded, Epsilon, Flat, Gamma, Squared

A = np.array([1.0, 2, -1])
W, B = np.array([[1.0, -1], [2, 1], [1, 3]]), np.array([0.5, -0.5])


def through(rule, r, bias):
    """Messages of one layer for relevance r [2]: z is (4.5, -2.5) with the bias."""
    z = A @ W + bias * B
    head = np.asarray(r) / z  # Then the logit hands back r, exactly.

    def f(clip):
        z = clip.reshape(-1) @ jnp.asarray(W) + jnp.asarray(bias * B)
        # Where cells turn round the layer ends, and a scale passes relevance on.
        return (z[::-1] * jnp.asarray(head)[::-1]).sum()[None]

    got = jaxattr.lrp(f, rule, epsilon=0.0)(jnp.asarray(A).reshape(1, 1, 3, 1), 0)
    return np.ravel(got.values)


@pytest.mark.parametrize(
    ("rule", "r", "bias", "want"),
    [
        (Epsilon(0.0), (4.5, 0), 1, (1, 4, -1)),
        (Epsilon(0.25), (4.5, 0), 1, (0.947368, 3.789474, -0.947368)),
        (AlphaBeta(1.0, 0.0), (4, 2), 1, (0.727273, 4.909091, 0)),
        (AlphaBeta(1.0, 0.0), (4, 2), 0, (0.8, 5.2, 0)),
        ("z_plus", (4, 2), 0, (0.8, 5.2, 0)),
        (AlphaBeta(2.0, 1.0), (4, 2), 1, (1.010101, 9.818182, -5.333333)),
        (AlphaBeta(2.0, 1.0), (4, 2), 0, (1.1, 10.4, -5.5)),
        (Gamma(0.25), (4, 2), 1, (1.540719, 2.300807, 1.388114)),
        (Gamma(0.25, 0.0, True), (4, 2), 1, (1.616162, 1.737374, 1.838384)),
        (Flat(), (4, 2), 0, (2, 2, 2)),
        (Squared(), (4, 2), 0, (0.848485, 2.848485, 2.303030)),
        (Bounded(-2.0, 3.0), (4, 2), 0, (1.444444, 3.555556, 1.0)),
    ],
)
def test_worked_numbers(rule, r, bias, want):
    np.testing.assert_allclose(through(rule, r, bias), want, atol=2e-6)


def test_batch_norm_after_a_layer_of_worked_numbers():
    """By hand: weights (2, -1) become (5.999880, -2.999940), the bias -0.099994."""

    def f(clip):
        z = clip.reshape(-1) @ jnp.asarray([[2.0], [-1.0]]) + 0.3
        return (z - 0.4) * (1.5 / jnp.sqrt(0.25 + 1e-5)) + 0.2

    got = jaxattr.lrp(f, Epsilon(0.0))(jnp.asarray([1.0, 2]).reshape(1, 1, 2, 1), 0)
    np.testing.assert_allclose(got.values.ravel(), (5.99988, -5.99988), atol=1e-6)
    np.testing.assert_allclose(got.score, -0.099994, atol=1e-6)
    np.testing.assert_allclose(got.residual, 0.099994, atol=1e-6)


SHAPE = (4, 5, 7, 3)
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 2, 3, 3, 4))
BIAS, MEAN, SHIFT = RNG.normal(size=4), RNG.normal(size=4), RNG.normal(size=4)
VAR, SCALE = RNG.uniform(0.5, 1.5, size=4), RNG.normal(size=4)  # Of both signs.
BRANCH = RNG.normal(size=(4, 4))
HEAD, LAST = RNG.normal(size=(4, 5)), RNG.normal(size=5)


def row(values):
    return jnp.asarray(values)[None, None, None, None]


def network(clip):
    x = lax.conv_general_dilated(
        clip[None], jnp.asarray(KERNEL), (1, 1, 2), "VALID",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )  # fmt: skip
    x = x + row(BIAS)
    x = (x - row(MEAN)) * (row(SCALE) / jnp.sqrt(row(VAR) + 1e-5)) + row(SHIFT)
    x = jax.nn.relu(x)
    x = jax.nn.relu(x + x @ jnp.asarray(BRANCH))
    return x.mean((0, 1, 2, 3)) @ jnp.asarray(HEAD) + jnp.asarray(LAST)


def sign(z):
    return np.where(z < 0, -1, 1)


def over(r, z):
    return np.divide(r, z, out=np.zeros_like(r), where=z != 0)


def messages(a, w, b, r, rule):
    """Relevance [j] of inputs a [j] with weights w [j, k] and biases b [k]."""
    c = a[:, None] * w
    z, up, down = (
        part.sum(0) + bias
        for part, bias in (
            (c, b),
            (np.maximum(c, 0), np.maximum(b, 0)),
            (np.minimum(c, 0), np.minimum(b, 0)),
        )
    )
    if isinstance(rule, Epsilon):
        return (c * over(r, z + rule.epsilon * sign(z))).sum(1)
    if isinstance(rule, AlphaBeta):
        return (
            rule.alpha * np.maximum(c, 0) * over(r, up)
            - rule.beta * np.minimum(c, 0) * over(r, down)
        ).sum(1)
    total = z + rule.gamma * np.where(z >= 0, up, down)
    favoured = np.where(z >= 0, np.maximum(c, 0), np.minimum(c, 0))
    return (
        (c + rule.gamma * favoured) * over(r, total + rule.epsilon * sign(total))
    ).sum(1)


def by_hand(clip, target, rule, epsilon):
    """The network above, cell by cell; batch norm folded into the convolution."""
    scale = SCALE / np.sqrt(VAR + 1e-5)
    kernel, bias = KERNEL * scale, (BIAS - MEAN) * scale + SHIFT
    cells = [(t, y, x) for t in range(2) for y in range(4) for x in range(3)]
    patches = {
        (t, y, x): np.s_[t : t + 3, y : y + 2, 2 * x : 2 * x + 3] for t, y, x in cells
    }
    a = {c: np.tensordot(clip[patches[c]], kernel, 4) + bias for c in cells}
    a = {c: np.maximum(v, 0) for c, v in a.items()}
    y = {c: np.maximum(v + v @ BRANCH, 0) for c, v in a.items()}
    pooled = sum(y.values()) / len(cells)
    logit = pooled @ HEAD + LAST
    r = messages(pooled, HEAD, LAST, np.eye(5)[target] * logit, rule)
    total = sum(y.values())
    share = over(r, total + epsilon * sign(total))
    want = np.zeros_like(clip)
    for c in cells:
        r = y[c] * share
        b = a[c] @ BRANCH
        u = over(r, a[c] + b + epsilon * sign(a[c] + b))
        r = a[c] * u + messages(a[c], BRANCH, np.zeros(4), b * u, rule)
        patch = clip[patches[c]]
        flat = messages(patch.ravel(), kernel.reshape(-1, 4), bias, r, rule)
        want[patches[c]] += flat.reshape(patch.shape)
    return want, logit[target]


@pytest.mark.parametrize(
    "rule",
    [
        Epsilon(0.1),
        AlphaBeta(2.0, 1.0),
        pytest.param(AlphaBeta(1.0, 0.0), marks=pytest.mark.slow),
        Gamma(0.4, 0.05),
    ],
)
def test_three_dimensions_and_batch_norm_against_loops(rule):
    clip = np.random.default_rng(1).normal(size=SHAPE)
    for target in (0, 3):
        want, logit = by_hand(clip, target, rule, 0.02)
        got = jaxattr.lrp(network, rule, epsilon=0.02)(jnp.asarray(clip), target)
        tolerance = 1e-9 * np.abs(want).max()
        np.testing.assert_allclose(got.values, want, atol=tolerance)
        np.testing.assert_allclose(got.score, logit, rtol=1e-10)
        np.testing.assert_allclose(got.residual, want.sum() - logit, atol=tolerance * 9)


def test_epsilon_is_gradient_times_input_and_keeps_all_without_biases():
    def f(clip):
        x = lax.conv_general_dilated(
            clip[None], jnp.asarray(KERNEL), (1, 1, 1), "SAME",
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )  # fmt: skip
        x = lax.reduce_window(
            jax.nn.relu(x), -jnp.inf, lax.max, (1, 1, 2, 2, 1), (1, 1, 2, 2, 1), "VALID"
        )
        x = jax.nn.relu(x + x @ jnp.asarray(BRANCH))
        return x.mean((0, 1, 2, 3)) @ jnp.asarray(HEAD)

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    got = jaxattr.lrp(f, Epsilon(0.0), epsilon=0.0)(clip, 2)
    want = jaxattr.input_x_gradient(f)(clip, 2).values
    np.testing.assert_allclose(got.values, want, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(got.residual, 0, atol=1e-12)
    for rules in ("z_plus", "gamma"):
        got = jaxattr.lrp(f, rules)(jnp.abs(clip), 2)
        np.testing.assert_allclose(got.residual, 0, atol=1e-6)


def test_z_plus_of_a_chain_is_never_negative():
    def f(clip):
        return jax.nn.relu(clip @ jnp.asarray(KERNEL[0, 0, 0])).mean((0, 1, 2)) @ HEAD

    clip = jnp.abs(jnp.asarray(np.random.default_rng(1).normal(size=SHAPE)))
    got = jaxattr.lrp(f, "z_plus", epsilon=0.0)(clip, int(f(clip).argmax()))
    assert got.values.min() >= 0
    np.testing.assert_allclose(got.values.sum(), got.score, rtol=1e-10)


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(5, 6, (2, 3)),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 4, (3, 1)),
    ).double()
    for module in theirs:  # Captum's rules know no part of a bias that is positive.
        if isinstance(module, torch.nn.Conv2d):
            module.bias.data = -module.bias.data.abs()
    kernels = [
        (module.weight.detach().numpy(), module.bias.detach().numpy())
        for module in theirs
        if isinstance(module, torch.nn.Conv2d)
    ]

    def ours(clip):
        x = clip
        for i, (kernel, bias) in enumerate(kernels):
            x = lax.conv_general_dilated(
                x, jnp.asarray(kernel.transpose(2, 3, 1, 0)), (1, 1),
                ((1, 1), (1, 1)) if i == 0 else "VALID",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )  # fmt: skip
            x = x + jnp.asarray(bias)[None, None, None]
            x = jax.nn.relu(x) if i < 2 else x
            if i == 0:
                window = (1, 2, 2, 1)
                x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        return x.reshape(-1)

    return theirs, ours


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(
    ("theirs_of", "rule"),
    [
        (lambda: lrp_rules.EpsilonRule(1e-9), Epsilon(1e-9)),
        (lambda: lrp_rules.EpsilonRule(0.05), Epsilon(0.05)),
        (lambda: lrp_rules.Alpha1_Beta0_Rule(True), AlphaBeta(1.0, 0.0)),
        (lambda: lrp_rules.GammaRule(0.25), Gamma(0.25, 1e-9)),
    ],
)
def test_two_dimensions_against_captum(pair, theirs_of, rule):
    theirs, ours = pair
    clip = np.abs(np.random.default_rng(2).normal(size=(1, 8, 6, 3)))
    for module in theirs:
        if isinstance(module, torch.nn.Conv2d):
            module.rule = theirs_of()
    inputs = torch.tensor(clip.transpose(0, 3, 1, 2), requires_grad=True)
    flat = torch.nn.Sequential(*theirs)
    target = int(ours(jnp.asarray(clip)).argmax())
    want = attr.LRP(flat).attribute(inputs, (target, 0, 0)).detach().numpy()
    want = want.transpose(0, 2, 3, 1)
    got = jaxattr.lrp(ours, rule)(jnp.asarray(clip), target).values
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(
    ("epsilon", "want"), [(0.0, (0.262786, -0.204178)), (1e-3, (0.253284, -0.196984))]
)
def test_a_scalar_lstm(epsilon, want):
    into = {"i": 0.5, "f": 0.4, "o": 0.3, "g": 1.0}
    back = {"i": 0.1, "f": 0.2, "o": 0.3, "g": 0.5}

    def step(state, x):
        h, c = state
        z = {
            k: x @ jnp.full((1, 1), into[k]) + h @ jnp.full((1, 1), back[k])
            for k in into
        }
        i, f, o = (jax.nn.sigmoid(z[k]) for k in "ifo")
        c = f * c + i * jnp.tanh(z["g"])
        return (o * jnp.tanh(c), c), None

    def f(clip):
        zero = jnp.zeros(1)
        h = lax.scan(step, (zero, zero), clip.reshape(2, 1))[0][0]
        return h @ jnp.full((1, 1), 2.0)

    clip = jnp.asarray([1.0, -0.5]).reshape(2, 1, 1, 1)
    got = jaxattr.lrp(f, Epsilon(epsilon), epsilon=epsilon)(clip, 0)
    np.testing.assert_allclose(got.score, 0.058608, atol=1e-6)
    np.testing.assert_allclose(got.values.ravel(), want, atol=2e-6)


def test_rules_by_layer_and_deep_taylor():
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    seen = []

    def rules(product):
        seen.append(product)
        return Bounded(-4.0, 4.0) if product.index == 0 else "z_plus"

    got = jaxattr.lrp(network, rules)(clip, 3)
    assert sorted({p.index for p in seen}) == [0, 1, 2]
    assert {p.count for p in seen} == {3}
    assert {p.operation for p in seen} == {"conv_general_dilated", "dot_general"}
    taylor = jaxattr.deep_taylor(network, low=-4.0, high=4.0)(clip, 3)
    np.testing.assert_array_equal(taylor.values, got.values)
    assert not np.allclose(jaxattr.deep_taylor(network)(clip, 3).values, got.values)


def test_bounds_that_do_not_hold_the_clip_are_refused():
    clip = jnp.asarray(np.random.default_rng(1).uniform(-1, 2, size=SMALL))
    inside = jaxattr.deep_taylor(small, low=-1, high=2)
    at = clip.at[0, 0, 0, 0].set(np.nextafter(2.0, 3.0))  # A bound, but for rounding.
    assert np.isfinite(inside(at, 1).values).all()
    for bounds in ({"low": -0.5, "high": 2}, {"low": -1, "high": 1.5}):
        explain = jaxattr.deep_taylor(small, **bounds)
        with pytest.raises(ValueError, match=r"`low` and `high` must bound the clip.*"):
            explain(clip, 1)
    got, want = jax.jit(lambda e, c: e(c, 1))(inside, clip), inside(clip, 1)
    np.testing.assert_allclose(got.values, want.values, rtol=1e-9)
    known = jax.jit(lambda: inside(clip, 1))()  # Known, inside another trace.
    np.testing.assert_allclose(known.values, want.values, rtol=1e-9)
    with pytest.raises(ValueError, match=r"`low` and `high` must bound the clip.*"):
        jax.jit(lambda: explain(clip, 1))()


class Mixer(nnx.Module):
    def __init__(self, shape, rngs):
        kinds = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": rngs}
        self.dense, self.scale = nnx.Linear(*shape, **kinds), nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return jax.jit(jax.nn.relu)(self.dense(x))


class Head(nnx.Module):
    def __init__(self, rngs):
        self.kernel = nnx.Param(rngs.normal((5, 2), jnp.float64))

    def __call__(self, x):
        return jax.jit(jnp.matmul)(x, self.kernel[...])  # Its scope is not around this.


class Mixers(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.blocks = nnx.List([Mixer((6, 4), rngs), Mixer((4, 5), rngs)])
        self.head = Head(rngs)

    def __call__(self, clip):
        x = clip.reshape(6)
        with jax.named_scope("body"):
            for block in self.blocks:
                x = block(x)
        return self.head(x)


def test_rules_by_the_path_of_an_nnx_module():
    net, seen = Mixers(), []
    chosen = {
        "blocks.0.dense": AlphaBeta(2.0, 1.0),
        "blocks.1.dense": Gamma(0.5, 0.0),
        "head": Epsilon(0.1),
    }

    def rules(product):
        seen.append((product.path, product.scope))
        return chosen[product.path]

    clip = np.random.default_rng(1).uniform(size=(1, 2, 3, 1))
    got = jaxattr.lrp(net, rules)(jnp.asarray(clip), 1)
    assert set(seen) == {
        ("blocks.0.dense", "body"),
        ("blocks.1.dense", "body"),
        ("head", ""),
    }
    taps = {tap.name for tap in jaxattr.list_taps(net, jnp.asarray(clip))}
    assert set(chosen) <= taps
    layers = [
        *(
            (np.asarray(b.dense.kernel[...]), np.asarray(b.dense.bias[...]))
            for b in net.blocks
        ),
        (np.asarray(net.head.kernel[...]), np.zeros(2)),
    ]
    given = [clip.ravel()]
    for w, b in layers:
        given.append(np.maximum(given[-1] @ w + b, 0))
    logit = given[2] @ layers[2][0][:, 1]
    r = np.array([0, logit])
    for a, (w, b), rule in list(zip(given, layers, chosen.values()))[::-1]:
        r = messages(a, w, b, r, rule)
    assert np.abs(r).max() > 1e-3
    np.testing.assert_allclose(np.ravel(got.values), r, rtol=1e-8, atol=1e-12)


def test_every_stream_has_a_first_layer():
    w, v = (np.random.default_rng(8).normal(size=s) for s in ((3, 4), (4, 2)))

    def stream(x):
        return jax.nn.relu(x @ w).mean((0, 1, 2)) @ v

    def one(clip):
        first = stream(clip["a"])
        return first + stream(clip["b"])

    def other(clip):
        second = stream(clip["b"])
        return stream(clip["a"]) + second

    seen = []
    jaxattr.lrp(one, lambda p: seen.append(p.first) or "epsilon")(STREAMS, 0)
    assert sorted(set(enumerate(seen[:4]))) == [
        (0, True),
        (1, False),
        (2, True),
        (3, False),
    ]
    got, want = (
        jaxattr.deep_taylor(f, low=-9, high=9)(STREAMS, 0) for f in (one, other)
    )
    for name in "ab":
        np.testing.assert_allclose(got.values[name], want.values[name], rtol=1e-10)


def test_bad_input_is_named():
    clip = jnp.ones(SHAPE)
    with pytest.raises(ValueError, match=r"`rules`.*epsilon, z_plus.*'lrp'"):
        jaxattr.lrp(network, "lrp")
    with pytest.raises(ValueError, match=r"`rules`.*got 3"):
        jaxattr.lrp(network, lambda product: 3)(clip, 0)
    with pytest.raises(ValueError, match=r"`f` has an operation without a rule.*: log"):
        jaxattr.lrp(lambda x: jnp.log(network(x)))(clip, 0)
    for bounds in ({"low": 0.0}, {"low": 1.0, "high": 0.0}):
        with pytest.raises(ValueError, match="`low` and `high`"):
            jaxattr.deep_taylor(network, **bounds)


SMALL = (2, 3, 4, 3)
STREAMS = {
    name: jnp.asarray(np.random.default_rng(i).normal(size=(2, 3, 4, 3)))
    for i, name in enumerate("ab")
}


def small(clip):
    x = clip @ jnp.asarray(KERNEL[0, 0, 0]) + jnp.asarray(BIAS)[None, None, None]
    x = (x - jnp.asarray(MEAN)[None, None, None]) * 0.7
    return jax.nn.relu(checkpoint_name(x, "cells")).mean((0, 1, 2)) @ jnp.abs(HEAD)


@pytest.mark.parametrize(
    "explain",
    [
        jaxattr.lrp(small, Epsilon(0.1)),
        jaxattr.lrp(small, "z_plus"),
        jaxattr.lrp(small, "gamma"),
        jaxattr.deep_taylor(small),
        jaxattr.guided_backprop(small, score="log_prob"),
        jaxattr.grad_cam(small, "cells", score="log_prob"),
    ],
)
@pytest.mark.slow
def test_explanations_have_gradients(explain):
    rng = np.random.default_rng(3)
    clip, way = rng.normal(size=SMALL), rng.normal(size=SMALL)
    weights = jnp.asarray(rng.normal(size=explain(jnp.asarray(clip), 1).values.shape))

    def total(clip):
        return (explain(jnp.asarray(clip), 1).values * weights).sum()

    got = (jax.grad(total)(jnp.asarray(clip)) * way).sum()
    step = 1e-6
    want = (total(clip + step * way) - total(clip - step * way)) / (2 * step)
    assert abs(want) > 1e-6
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_relu_of_the_user_s_own_keeps_its_meaning():
    @jax.custom_jvp
    @jax.jit
    def relu(x):
        return jnp.where(x > 0, x, 0.3 * x)

    relu.defjvp(lambda x, dx: (relu(*x), dx[0] * jnp.where(x[0] > 0, 1.0, 0.3)))

    def f(clip):
        return relu(clip.reshape(-1) - 0.5) @ jnp.ones((clip.size, 2))

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SMALL))
    with pytest.raises(ValueError, match="`f` has no ReLU"):
        jaxattr.guided_backprop(f)(clip, 0)
    # A half at each element is a bias, and the function passes relevance on.
    got = jaxattr.lrp(f, Epsilon(0.0), epsilon=0.0)(clip, 0).values
    np.testing.assert_allclose(got, np.where(clip > 0.5, 1, 0.3) * clip, rtol=1e-10)


@pytest.mark.parametrize(
    "rules",
    [
        *("alpha_beta", "flat", "w_squared"),
        *(pytest.param(rule, marks=pytest.mark.slow) for rule in ("z_plus", "gamma")),
    ],
)
def test_a_layer_goes_on_behind_a_reshape(rules):
    def f(squeeze, clip):
        x = clip[None] @ jnp.asarray(KERNEL[0, 0, 0])
        x = checkpoint_name(x[0], "cells") if squeeze else x
        rank = (None,) * (x.ndim - 1)
        x = x + jnp.asarray(BIAS)[rank]
        x = (x - jnp.asarray(MEAN)[rank]) * jnp.asarray(SCALE)[rank]
        return jax.nn.relu(x.reshape(-1, 4)).mean(0) @ jnp.asarray(HEAD)

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SMALL))
    whole, squeezed = (
        jaxattr.lrp(functools.partial(f, squeeze), rules)(clip, 1).values
        for squeeze in (False, True)
    )
    np.testing.assert_allclose(squeezed, whole, rtol=1e-9, atol=1e-12)


def test_gates_and_what_is_made_of_them_get_nothing():
    weights = jnp.asarray(RNG.normal(size=(3, 3)))

    def f(stop, clip):
        gate = jax.nn.sigmoid(clip.mean((0, 1, 2)) @ weights)
        gate = jax.lax.stop_gradient(gate) if stop else gate
        opened = clip * gate[None, None, None]
        shut = (1 - gate) * clip.mean((0, 1, 2))
        return opened.mean((0, 1, 2)) @ weights + shut @ weights

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SMALL))
    got = jaxattr.lrp(functools.partial(f, False))(clip, 1)
    np.testing.assert_allclose(got.residual, 0, atol=1e-5)


@pytest.mark.parametrize("activation", [jax.nn.sigmoid, lambda x: jnp.sqrt(jnp.abs(x))])
def test_a_gate_that_gates_nothing_is_an_activation(activation):
    # Two dense layers. The half of a sigmoid at 0 is a bias.
    w, v = (np.random.default_rng(6).normal(size=s) for s in ((3, 4), (4, 2)))

    def f(clip):
        return activation(clip.mean((0, 1, 2)) @ w) @ v

    clip = jnp.asarray(np.random.default_rng(7).normal(size=(2, 3, 4, 3)))
    x, h = clip.mean((0, 1, 2)), activation(clip.mean((0, 1, 2)) @ w)
    hidden = (h - activation(jnp.zeros(()))) * v[:, 1]
    want = (x[:, None] * w * (hidden / (x @ w))[None]).sum(1)
    got = jaxattr.lrp(f, Epsilon(0.0))(clip, 1).values.sum((0, 1, 2))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_constant_that_makes_more_of_a_layer():
    more = jnp.asarray(RNG.normal(size=(5, 1, 1, 4)))

    def f(clip):
        x = clip.mean((0, 1, 2), keepdims=True) @ jnp.asarray(KERNEL[0, 0, 0])
        return ((x + more) * more).mean((0, 1, 2)) @ jnp.asarray(HEAD)

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SMALL))
    for rules in ("epsilon", "gamma"):
        assert np.isfinite(jaxattr.lrp(f, rules)(clip, 1).values).all()


def test_what_relevance_cannot_do_is_refused():
    dense = jax.jit(lambda h, w: h @ w)

    def twice(clip):
        x = dense(clip.mean((0, 1, 2)), jnp.ones((3, 3)))
        return dense(jax.nn.relu(x), jnp.ones((3, 3)))

    clip = jnp.ones(SMALL)
    jaxattr.lrp(twice)(clip, 0)
    for method in (jaxattr.deep_taylor, lambda f: jaxattr.lrp(f, lambda p: "flat")):
        with pytest.raises(ValueError, match=r"`rules` cannot choose.*more than once"):
            method(twice)(clip, 0)
    with pytest.raises(ValueError, match="div by what"):
        jaxattr.lrp(lambda x: 3 / (small(x) ** 2 + 1))(clip, 0)
    with pytest.raises(ValueError, match="div by what"):
        jaxattr.lrp(lambda x: small(x) ** -2)(clip, 0)
    with pytest.raises(ValueError, match="`epsilon` must be at least 0"):
        jaxattr.lrp(small, epsilon=-1.0)
    with pytest.raises(ValueError, match="`rules`"):
        jaxattr.lrp(small, Epsilon)


def test_settings_may_be_any_numbers_and_nothing_compiles_twice():
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SMALL))
    want = jaxattr.lrp(small, Epsilon(0.25))(clip, 1).values
    for epsilon in (np.float32(0.25), jnp.float32(0.25)):
        np.testing.assert_array_equal(
            jaxattr.lrp(small, Epsilon(epsilon))(clip, 1).values, want
        )
    calls = []

    def counting(clip):
        calls.append(1)
        return small(clip)

    for _ in range(2):
        jaxattr.deep_taylor(counting)(clip, 1)
    assert len(calls) == 1
