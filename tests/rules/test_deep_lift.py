"""DeepLIFT against worked numbers, captum, slow loops, and its own completeness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from captum import attr
from flax import nnx
from jax import lax

import jaxattr

RULES = ("rescale", "reveal_cancel")
slow = pytest.mark.slow
either_rule = pytest.mark.parametrize(
    "rule", ["rescale", pytest.param("reveal_cancel", marks=slow)]
)
SHAPE = (4, 6, 5, 3)  # T, H, W, C all differ.
RNG = np.random.default_rng(0)
W, V = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))
CLIP, BASELINE = (jnp.asarray(RNG.normal(size=SHAPE)) for _ in range(2))
KINDS = {"dtype": jnp.float64, "param_dtype": jnp.float64}


def row(*numbers):
    return jnp.asarray(numbers).reshape(1, 1, -1, 1)


def minimum(clip):
    a, b = clip.ravel()
    return (a - jax.nn.relu(a - b))[None]


def two_layers(clip):
    z = jnp.asarray([[1.0, -1], [2, 0.5]]).T @ clip.ravel() + jnp.asarray([-1, 0.5])
    return (jax.nn.relu(z) @ jnp.asarray([1.0, 3]))[None]


@pytest.mark.parametrize(
    ("f", "rule", "clip", "want"),
    [
        (minimum, "rescale", row(3.0, 1.0), (0, 1)),
        (minimum, "reveal_cancel", row(3.0, 1.0), (0.5, 0.5)),
        (two_layers, "rescale", row(2.0, 1.0), (-0.5, 2.0)),
    ],
)
def test_worked_numbers(f, rule, clip, want):
    got = jaxattr.deep_lift(f, rule=rule)(clip, 0)
    np.testing.assert_allclose(got.values.ravel(), want, atol=1e-12)
    np.testing.assert_allclose(got.change, f(clip)[0] - f(0 * clip)[0], atol=1e-12)


@pytest.mark.parametrize(
    ("clip", "want"),
    [((4.0, 1.0), (1, 0)), ((2.0, 1.0), (0, -1)), ((3.0, 3.0), (0, 0))],
)
def test_a_maximum_is_lifted_by_the_new_one_and_let_down_by_the_old(clip, want):
    baseline = row(0.0, 3.0)
    for f in (lambda x: x.max()[None], lambda x: jnp.maximum(x[0, 0, 0], x[0, 0, 1])):
        got = jaxattr.deep_lift(f, baseline=baseline)(row(*clip), 0)
        np.testing.assert_array_equal(got.values.ravel(), want)
    f = lambda x: x.min()[None]
    got = jaxattr.deep_lift(f, baseline=-baseline)(-row(*clip), 0)
    np.testing.assert_array_equal(got.values.ravel(), -np.asarray(want))


class Theirs(torch.nn.Module):
    """Two or three dimensions: batch norm, a residual, mean pools, ReLU and tanh."""

    def __init__(self, rank):
        super().__init__()
        conv, norm, pool = (
            getattr(torch.nn, f"{kind}{rank}d")
            for kind in ("Conv", "BatchNorm", "AvgPool")
        )
        self.conv1, self.norm1 = conv(3, 4, 3, padding=1), norm(4)
        self.conv2, self.conv3 = conv(4, 4, 3, padding=1), conv(4, 6, 2)
        self.relu1, self.relu2 = torch.nn.ReLU(), torch.nn.ReLU()
        self.tanh, self.pool = torch.nn.Tanh(), pool(2)
        self.head = torch.nn.Linear(6, 5)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(x + self.conv2(x))
        x = self.tanh(self.conv3(self.pool(x)))
        return self.head(x.flatten(2).mean(2))


@pytest.mark.filterwarnings("ignore:Setting (forward|backward)")
@pytest.mark.parametrize("rank", [2, 3])
def test_rescale_is_captum_s(rank):
    torch.manual_seed(0)
    theirs = Theirs(rank).double().eval()
    theirs.norm1.running_mean.normal_(0, 0.3)
    theirs.norm1.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        theirs.norm1.weight.normal_()
        theirs.norm1.bias.normal_(0, 0.3)
    w = {k: jnp.asarray(v.numpy()) for k, v in theirs.state_dict().items()}
    space = "DHW"[3 - rank :]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")

    def wide(v):
        return v.reshape((1,) * (rank + 1) + (-1,))

    def conv(x, name, pad):
        kernel = jnp.moveaxis(w[f"{name}.weight"], (0, 1), (-1, -2))
        y = lax.conv_general_dilated(
            x, kernel, (1,) * rank, [(pad, pad)] * rank, dimension_numbers=numbers
        )
        return y + wide(w[f"{name}.bias"])

    def ours(clip):
        x = conv(clip if rank == 2 else clip[None], "conv1", 1)
        mean, var, scale, bias = (
            wide(w[f"norm1.{k}"])
            for k in ("running_mean", "running_var", "weight", "bias")
        )
        x = jax.nn.relu((x - mean) / jnp.sqrt(var + 1e-5) * scale + bias)
        x = jnp.maximum(x + conv(x, "conv2", 1), 0)
        window = (1, *(2,) * rank, 1)
        x = lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / 2**rank
        x = jnp.tanh(conv(x, "conv3", 0))
        return x.mean(range(1, rank + 1))[0] @ w["head.weight"].T + w["head.bias"]

    shape = (1, 7, 9, 3) if rank == 2 else (4, 7, 9, 3)
    clip, baseline = np.random.default_rng(1).normal(size=(2, *shape))

    def to_torch(x):
        x = x if rank == 2 else x[None]
        return torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)

    want = attr.DeepLift(theirs).attribute(to_torch(clip), to_torch(baseline), 3)
    want = np.moveaxis(want.detach().numpy(), 1, -1).reshape(shape)
    got = jaxattr.deep_lift(ours, baseline=baseline)(jnp.asarray(clip), 3)
    np.testing.assert_allclose(got.values, want, atol=1e-9 * np.abs(want).max())


def test_reveal_cancel_against_loops():
    rng = np.random.default_rng(2)
    first, second, head = (rng.normal(size=s) for s in ((6, 4), (4, 5), (5, 2)))
    bias, shift = rng.normal(size=4), rng.normal(size=5)
    clip, baseline = rng.normal(size=(2, 1, 2, 3, 1))

    def f(x):
        y = jnp.tanh(x.ravel() @ jnp.asarray(first) + jnp.asarray(bias))
        return jax.nn.relu(y @ jnp.asarray(second) + jnp.asarray(shift)) @ head

    def layer(x, x0, weights, term, phi):
        """y, y0 and, for every unit, how a unit of each input counts: [in, out]."""
        z, z0 = x @ weights + term, x0 @ weights + term
        through = np.zeros_like(weights)
        for k in range(weights.shape[1]):
            c = [w * d for w, d in zip(weights[:, k], x - x0)]
            up, down = sum(v for v in c if v > 0), sum(v for v in c if v < 0)
            begin, end = phi(z0[k]), phi(z[k])
            both = phi(z0[k] + up), phi(z0[k] + down)
            rise = (both[0] - begin + end - both[1]) / 2
            fall = (both[1] - begin + end - both[0]) / 2
            for i, v in enumerate(c):
                through[i, k] = weights[i, k] * (rise / up if v > 0 else fall / down)
        return phi(z), phi(z0), through

    y, y0, lower = layer(clip.ravel(), baseline.ravel(), first, bias, np.tanh)
    _, _, upper = layer(y, y0, second, shift, lambda z: np.maximum(z, 0))
    want = (clip - baseline).ravel() * (lower @ upper @ head[:, 1])
    explain = jaxattr.deep_lift(f, baseline=baseline, rule="reveal_cancel")
    got = explain(jnp.asarray(clip), 1).values.ravel()
    np.testing.assert_allclose(got, want, rtol=1e-10)
    rescaled = jaxattr.deep_lift(f, baseline=baseline)(jnp.asarray(clip), 1)
    assert np.abs(rescaled.values.ravel() - want).max() > 1e-3


class Convolutional(nnx.Module):
    def __init__(self, rngs):
        kinds = {"rngs": rngs, **KINDS}
        self.conv1 = nnx.Conv(3, 4, (3, 3, 3), **kinds)
        self.norm = nnx.BatchNorm(4, use_running_average=True, **kinds)
        for statistic in (self.norm.mean, self.norm.var, self.norm.scale):
            statistic.set_value(jnp.asarray(RNG.uniform(0.5, 1.5, size=4)))
        self.conv2 = nnx.Conv(4, 4, (1, 3, 3), **kinds)
        self.head = nnx.Linear(4, 3, **kinds)

    def __call__(self, clip):
        x = nnx.relu(self.norm(self.conv1(clip[None])))
        x = nnx.max_pool(nnx.relu(x + self.conv2(x)), (1, 2, 2), (1, 2, 2))
        return self.head(x.mean((0, 1, 2, 3)))


class Recurrent(nnx.Module):
    def __init__(self, rngs):
        kinds = {"rngs": rngs, **KINDS}
        self.conv = nnx.Conv(3, 4, (3, 3), **kinds)
        self.rnn = nnx.RNN(nnx.LSTMCell(4, 5, **kinds), rngs=rngs)
        self.head = nnx.Linear(5, 3, **kinds)

    def __call__(self, clip):
        x = nnx.relu(self.conv(clip)).mean((1, 2))
        return self.head(self.rnn(x[None])[0, -1])


def scanned(clip):
    """The carry begins as a constant, and a count runs along."""

    def step(carry, frame):
        h, c, count = carry
        z = frame.mean((0, 1)) @ jnp.asarray(W) + h @ jnp.asarray(V)
        c = jax.nn.sigmoid(z) * c + jax.nn.sigmoid(-z) * jnp.tanh(z[::-1])
        return (jnp.tanh(c) * jax.nn.sigmoid(z + count), c, count + 1.0), h.sum()

    zero = jnp.zeros(3)
    (h, _, _), sums = lax.scan(step, (zero, zero, 0.0), clip, reverse=True)
    return h * sums.sum() + h


def normalised(x):
    x = x - x.mean(-1, keepdims=True)
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def attention(clip):
    x = clip.reshape(len(clip), -1, 3).mean(1) @ jnp.asarray(W)
    q, k = normalised(x), normalised(x) @ jnp.asarray(V)
    allowed = jnp.tril(jnp.ones((len(clip), len(clip)), bool))
    x = x + jax.nn.softmax(jnp.where(allowed, q @ k.T, -jnp.inf)) @ x
    return (x + jax.nn.gelu(normalised(x) @ jnp.asarray(W))).mean(0)


def twice(clip):
    relu = jax.jit(jax.nn.relu)
    return relu(relu(clip @ jnp.asarray(W) - 0.2) @ jnp.asarray(V) + 1.0).mean(
        (0, 1, 2)
    )


def small(clip):
    x = clip.mean((1, 2))
    y = jnp.tanh(x @ jnp.asarray(W) + 0.3) * jax.nn.softmax(x @ jnp.asarray(V))
    return jax.nn.silu(y.mean(0) @ jnp.asarray(V))


def of_cells(function):
    return lambda clip: function(clip @ jnp.asarray(W)).mean((0, 1, 2))


NETWORKS = {
    "convolutional": Convolutional,
    "recurrent": Recurrent,
    "scan": scanned,
    "attention": attention,
    "one ReLU used twice": twice,
    "loop": lambda x: lax.fori_loop(0, 3, lambda i, y: jnp.tanh(y @ W), x)[0, 0, 0],
    "cond": of_cells(lambda x: lax.cond(True, jnp.tanh, lambda y: jnp.ones_like(y), x)),
    "constant": lambda x: jnp.ones(3),
    "linear": of_cells(lambda x: x - x[::-1]),
    "elu": of_cells(jax.nn.elu),
    "softplus": of_cells(jax.nn.softplus),
    "where": of_cells(lambda x: jnp.where(x > 0.3, x**2, -jnp.exp(x))),
    "maximum": of_cells(lambda x: jnp.maximum(x, x[::-1]) - jnp.minimum(x, x[:, ::-1])),
    "max": of_cells(lambda x: x.max(1, keepdims=True) * x.min(0, keepdims=True)),
    "quotient": of_cells(lambda x: x / (1 + x[::-1] ** 2) + 3 / (1 + x**2)),
    "stop_gradient": of_cells(lambda x: lax.stop_gradient(x) * jnp.tanh(x[::-1])),
}


# Both rules are the same away from activations: one row for each kind of these.
BOTH = ("one ReLU used twice", "softplus", "where", "maximum", "quotient")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        pytest.param(name, rule, marks=slow)
        if name == "recurrent" or (name not in BOTH and rule == "reveal_cancel")
        else (name, rule)
        for name in NETWORKS
        for rule in RULES
    ],
)
def test_contributions_sum_to_the_change(name, rule, loose_promotion):
    f = NETWORKS[name]
    f = f(nnx.Rngs(0)) if isinstance(f, type) else f
    got = jaxattr.deep_lift(f, baseline=BASELINE, rule=rule)(CLIP, 1)
    logits = jax.jit(lambda clip: f(clip))
    change = logits(CLIP)[1] - logits(BASELINE)[1]
    np.testing.assert_allclose(got.change, change, rtol=1e-9, atol=1e-14)
    assert change != 0 or name == "constant"
    np.testing.assert_allclose(got.values.sum(), change, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(got.residual, got.values.sum() - change, atol=1e-12)


@pytest.mark.parametrize("score", ["log_prob", "margin"])
def test_a_score_is_part_of_the_network(score, loose_promotion):
    explain = jaxattr.deep_lift(twice, baseline=BASELINE, score=score)
    got = explain(CLIP, 1)
    assert abs(got.change) > 1e-6
    np.testing.assert_allclose(got.residual, 0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_moves_where_the_clip_is_the_baseline(rule):
    for f in (twice, of_cells(lambda x: jnp.sqrt(jnp.abs(x - x)) + x)):
        got = jaxattr.deep_lift(f, baseline=CLIP, rule=rule)(CLIP, 1)
        np.testing.assert_array_equal(got.values, 0)
        np.testing.assert_allclose(got.change, 0, atol=1e-14)


def test_a_difference_lost_in_rounding_has_the_derivative():
    def f(clip):
        return jnp.stack([jax.nn.relu(clip.sum()), jnp.exp(clip.sum())])

    clip = row(1.0, -1.0)  # The sum is 0, as is the baseline's.
    for target, slope in ((0, 0.0), (1, 1.0)):
        got = jaxattr.deep_lift(f)(clip, target).values
        np.testing.assert_array_equal(got, slope * clip)
    tiny = row(1.0, -1.0 + 1e-15)
    got = jaxattr.deep_lift(f)(tiny, 1).values
    np.testing.assert_allclose(got, tiny, rtol=1e-12)


@either_rule
def test_a_dummy_frame_gets_exactly_nothing(rule):
    def f(clip):
        return small(clip[jnp.asarray([0, 1, 3])])

    got = jaxattr.deep_lift(f, baseline=BASELINE, rule=rule)(CLIP, 2).values
    assert np.count_nonzero(np.abs(got).sum((1, 2, 3))) == 3
    np.testing.assert_array_equal(got[2], 0)


@either_rule
def test_checkpoint_and_vmap_change_nothing(rule):
    explain = jaxattr.deep_lift(twice, baseline=BASELINE, rule=rule)
    want = explain(CLIP, 1).values
    again = jaxattr.deep_lift(jax.checkpoint(twice), baseline=BASELINE, rule=rule)
    scale = np.abs(want).max()
    np.testing.assert_allclose(again(CLIP, 1).values, want, atol=1e-12 * scale)
    clips, targets = jnp.stack([CLIP[::-1], CLIP]), jnp.asarray([0, 1])
    got = jax.vmap(explain)(clips, targets).values[1]
    np.testing.assert_allclose(got, want, atol=1e-12 * scale)


@either_rule
def test_an_explanation_has_a_gradient(rule):
    rng = np.random.default_rng(3)
    way, weights = rng.normal(size=(2, *SHAPE))
    explain = jaxattr.deep_lift(small, baseline=BASELINE, rule=rule)

    @jax.jit
    def total(clip):
        return (explain(clip, 1).values * weights).sum()

    got = (jax.grad(total)(CLIP) * way).sum()
    want = (total(CLIP + 1e-6 * way) - total(CLIP - 1e-6 * way)) / 2e-6
    assert abs(want) > 1e-6
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_pytree_and_a_baseline_by_channel():
    clip = {"rgb": CLIP, "flow": CLIP[..., :2]}
    baseline = {"rgb": np.asarray([1.0, 2.0, 3.0]), "flow": 0.5}

    def f(x):
        return jnp.stack([(x["rgb"] ** 2).sum() + x["flow"].sum()])

    got = jaxattr.deep_lift(f, baseline=baseline)(clip, 0)
    want = CLIP**2 - baseline["rgb"][None, None, None] ** 2
    np.testing.assert_allclose(got.values["rgb"], want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.values["flow"], clip["flow"] - 0.5, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: jnp.sort(x), "sort"),
        (lambda x: jax.nn.one_hot(x.argmax(-1), 3) * x, "in steps"),
        (lambda x: lax.cond(x.sum() > 0, jnp.tanh, jnp.sin, x), "cond by what"),
        (
            lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x),
            "while whose number",
        ),
    ],
)
def test_what_has_no_rule_is_named(function, named, loose_promotion):
    with pytest.raises(ValueError, match=rf"without a rule.*{named}.*integrated_grad"):
        jaxattr.deep_lift(of_cells(function))(CLIP, 0)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"`rule`.*'rescale', 'reveal_cancel'.*'cut'"):
        jaxattr.deep_lift(twice, rule="cut")
    with pytest.raises(TypeError, match="`baseline`"):
        jaxattr.deep_lift(twice, baseline="black")
    for baseline in (jnp.ones(7), {"a": 0.0}):
        with pytest.raises(ValueError, match="`baseline`"):
            jaxattr.deep_lift(twice, baseline=baseline)(CLIP, 0)


def test_a_new_baseline_compiles_nothing():
    calls = []

    def counting(clip):
        calls.append(1)
        return twice(clip)

    for value in (0.0, 0.5):
        jaxattr.deep_lift(counting, baseline=value)(CLIP, 1)
    jaxattr.deep_lift(counting, baseline=jnp.asarray(1.0))(CLIP, 1)
    assert len(calls) == 1
