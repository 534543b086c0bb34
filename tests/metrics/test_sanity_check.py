"""Randomised parameters, layer by layer, as a recording method sees them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxattr
from jaxattr.metrics import sanity_check
from jaxattr.metrics._layers import first_uses, parameter_layers
from jaxattr.metrics._spearman import spearman
from jaxattr.metrics._ssim import ssim

KEY = jax.random.key(0)
SHAPE = (3, 8, 9, 2)


class Values(NamedTuple):
    values: jax.Array


class Net(nnx.Module):
    """Layers whose names are not in the order of their use."""

    def __init__(self):
        rngs, kinds = nnx.Rngs(0), {"param_dtype": jnp.float32, "dtype": jnp.float32}
        self.z_first = nnx.Conv(2, 4, (2, 2, 2), rngs=rngs, **kinds)
        self.m_norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs, **kinds)
        self.a_second = nnx.Conv(4, 3, (1, 2, 2), rngs=rngs, **kinds)
        self.head = nnx.Linear(3, 5, rngs=rngs, **kinds)
        self.unused = nnx.Linear(3, 5, rngs=rngs, **kinds)
        rng = np.random.default_rng(0)
        for variable in (self.z_first.bias, self.m_norm.bias, self.m_norm.mean):
            variable[...] = jnp.asarray(rng.normal(size=4), jnp.float32)
        self.m_norm.var[...] = jnp.asarray(rng.random(4) + 0.5, jnp.float32)
        self.m_norm.scale[...] = jnp.asarray(rng.random(4) + 0.5, jnp.float32)

    def __call__(self, x):
        x = jnp.tanh(self.m_norm(self.z_first(x[None])))
        return self.head((jnp.tanh(self.a_second(x)) ** 2).mean((0, 1, 2, 3)))


ORDER = ("head", "a_second", "m_norm", "z_first")


def recording(method, record):
    """A method that notes the parameters, its values and its key, every time."""

    def transform(f):
        explain = method(f)

        def explained(clip, target, *, key):
            values = explain(clip, target, key=key).values
            jax.debug.callback(
                lambda *noted: record.append(noted),
                jax.tree.leaves(f),
                values,
                jax.random.key_data(key),
                ordered=True,
            )
            return Values(values)

        return explained

    return transform


def changed_layers(net, leaves):
    """Which layers differ from the trained ones, and whether values only moved."""
    paths = jax.tree_util.tree_flatten_with_path(net)[0]
    changed, same_values = set(), True
    for (path, trained), now in zip(paths, leaves, strict=True):
        if not np.array_equal(trained, now):
            changed.add(jax.tree_util.keystr(path[:1], simple=True))
        same_values &= np.array_equal(np.sort(trained, None), np.sort(now, None))
    return changed, same_values


@pytest.mark.parametrize(
    "order", ["cascading", pytest.param("independent", marks=pytest.mark.slow)]
)
def test_layers_change_from_the_head_down_and_maps_are_compared(order):
    net, clip, record = Net(), networks.clip(shape=SHAPE, dtype=jnp.float32), []
    method = recording(jaxattr.saliency, record)
    got = sanity_check(method, net, order=order)(clip, 2, key=KEY)
    jax.block_until_ready(got)
    jax.effects_barrier()
    assert got.layers == ORDER
    assert len(record) == 5
    (_, trained, first_key), *rest = [jax.tree.map(np.asarray, r) for r in record]
    for i, (leaves, values, key) in enumerate(rest):
        np.testing.assert_array_equal(key, first_key)
        changed, same_values = changed_layers(net, leaves)
        expected = ORDER[: i + 1] if order == "cascading" else ORDER[i : i + 1]
        assert changed == set(expected)
        assert same_values
        copy = jax.tree.unflatten(jax.tree.structure(net), leaves)
        again = jaxattr.saliency(copy)(clip, 2).values
        np.testing.assert_allclose(values, again, atol=1e-5 * np.abs(again).max())
        a, b = trained.ravel(), values.ravel()
        rho = stats.spearmanr(a, b).statistic
        assert float(got.spearman[i]) == pytest.approx(rho, abs=1e-5)
        rho = stats.spearmanr(np.abs(a), np.abs(b)).statistic
        assert float(got.spearman_abs[i]) == pytest.approx(rho, abs=1e-5)
        maps = [jaxattr.to_heatmap(jnp.asarray(v)) for v in (trained, values)]
        assert float(got.ssim[i]) == pytest.approx(slow_ssim(*maps), abs=1e-5)
    if (
        order == "cascading"
    ):  # By now all are random: not all in one and the same order.
        fours = [
            np.argsort(new)[np.argsort(np.argsort(old))].tolist()
            for old, new in zip(jax.tree.leaves(net), leaves, strict=True)
            if old.shape == (4,) and len(np.unique(old)) == 4
        ]
        assert len(fours) == 5
        assert not all(order == fours[0] for order in fours)
    plain = jaxattr.saliency(net)(clip, 2).values
    np.testing.assert_allclose(trained, plain, atol=1e-5 * np.abs(plain).max())
    assert got.finite.all()
    assert not got.constant.any()


def slow_ssim(a, b):
    """Over every 5 x 5 window of every frame."""
    a, b = np.asarray(a), np.asarray(b)
    found = []
    for t in range(a.shape[0]):
        for y in range(a.shape[1] - 4):
            for x in range(a.shape[2] - 4):
                p, q = (m[t, y : y + 5, x : x + 5] for m in (a, b))
                cov = ((p - p.mean()) * (q - q.mean())).mean()
                top = (2 * p.mean() * q.mean() + 1e-4) * (2 * cov + 9e-4)
                bottom = (p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (
                    p.var() + q.var() + 9e-4
                )
                found.append(top / bottom)
    return np.mean(found)


def test_similarities_of_the_worked_cases():
    a = jnp.array([0.1, -0.4, 0.3, 0.2, 0, 0.6])
    b = jnp.array([0.2, 0.3, -0.1, 0.4, 0.5, 0])
    np.testing.assert_allclose(spearman(a, b), -0.657143, atol=1e-6)
    np.testing.assert_allclose(spearman(jnp.abs(a), jnp.abs(b)), -0.714286, atol=1e-6)
    p, q = jnp.array([[[0, 0.5, 1]]]), jnp.array([[[0, 1, 0.5]]])
    np.testing.assert_allclose(ssim(p, q), 0.501346, atol=1e-6)  # One window.
    np.testing.assert_allclose(ssim(p, p), 1)


@pytest.mark.parametrize("levels", [2, 9, 10**9])
def test_rank_correlation_is_scipys_with_ties(levels):
    a, b = np.random.default_rng(0).integers(levels, size=(2, 4, 5, 6)) - levels / 2
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
        x, y = a.astype(dtype), b.astype(dtype)
        expected = stats.spearmanr(x.ravel(), y.ravel()).statistic
        got = jax.jit(spearman)(x, y)
        np.testing.assert_allclose(got, expected, atol=tolerance)
    assert np.isnan(spearman(jnp.ones(4), jnp.arange(4.0)))
    assert np.isnan(spearman(jnp.array([1, jnp.nan, 2, 3]), jnp.arange(4.0)))


def test_a_method_that_ignores_the_network_stays_and_constant_maps_are_counted():
    net, clip = Net(), networks.clip(shape=SHAPE, dtype=jnp.float32)
    edges = lambda f: lambda clip, target, *, key: Values(jnp.diff(clip, axis=1))
    got = sanity_check(edges, net)(clip, 0, key=KEY)
    np.testing.assert_allclose(got[:3], 1, rtol=1e-5)

    def method(f):  # Constant once the head, NaN once the first layer is random.
        kept = (f.head.kernel[...] == net.head.kernel[...]).all()
        broken = (f.z_first.kernel[...] != net.z_first.kernel[...]).any()
        factor = jnp.where(broken, jnp.nan, kept.astype(clip.dtype))
        return lambda clip, target, *, key: Values(clip * factor)

    got = sanity_check(method, net, order="independent")(clip, 0, key=KEY)
    assert got.constant.tolist() == [True, False, False, False]
    assert got.finite.tolist() == [True, True, True, False]
    assert np.isnan(got.spearman).tolist() == [True, False, False, True]
    assert np.isnan(got.ssim).tolist() == [False, False, False, True]


@pytest.mark.slow
def test_selection_depth_and_normal_draws():
    net, clip, record = Net(), networks.clip(shape=SHAPE, dtype=jnp.float32), []
    statistics = lambda name: not name.endswith((".mean", ".var"))
    method = recording(jaxattr.saliency, record)
    check = sanity_check(method, net, draw="normal", select=statistics)
    got = check(clip, 2, key=KEY)
    jax.block_until_ready(got)
    jax.effects_barrier()
    assert got.finite.all()
    last = jax.tree.unflatten(jax.tree.structure(net), record[-1][0])
    np.testing.assert_array_equal(last.m_norm.mean[...], net.m_norm.mean[...])
    np.testing.assert_array_equal(last.m_norm.var[...], net.m_norm.var[...])
    drawn, trained = (
        [np.asarray(n[...]) for n in (m.z_first.kernel, m.a_second.kernel)]
        for m in (last, net)
    )
    assert not any(np.isin(a, b).any() for a, b in zip(drawn, trained))
    scaled = np.concatenate([(a / b.std()).ravel() for a, b in zip(drawn, trained)])
    assert scaled.std() == pytest.approx(1, rel=0.15)  # 112 numbers.
    assert abs(scaled.mean()) < 0.3


@pytest.mark.slow
def test_layers_of_other_pytrees():
    clip = networks.clip()
    names = parameter_layers(networks.make("linen"), clip).names
    assert names == ("Conv_0", "Dense_0")
    assert parameter_layers(networks.make("dataclass"), clip).names == (
        "kernel",
        "head",
    )
    nested = jax.tree_util.Partial(
        lambda p, x: (
            x.mean() * p["top"]["b"]["w"].sum() * p["low"]["b"]["w"]
            + p["top"]["a"]["w"]
        ),
        {
            "low": {"b": {"w": jnp.ones(5)}},
            "top": {"a": {"w": jnp.ones(5)}, "b": {"w": jnp.ones(2)}},
            "count": jnp.arange(3),
        },
    )
    layers = parameter_layers(nested, clip)
    assert layers.names == ("top.b", "low.b", "top.a")
    assert layers.layer_of == (None, 1, 2, 0)
    assert parameter_layers(nested, clip, depth=1).names == ("top", "low")
    with pytest.raises(ValueError, match="no parameters"):
        parameter_layers(networks.make("function"), clip)
    with pytest.raises(ValueError, match="no parameters"):
        parameter_layers(nested, clip, select=lambda name: False)


def test_first_use_is_found_inside_control_flow():
    def f(a, b, c, d, e, x):
        x = jax.jit(lambda x, w: x * w)(x, d)
        x = jax.lax.cond(x > 0, lambda x, w: x * w, lambda x, w: x, x, b)
        x, _ = jax.lax.scan(lambda x, w: (x * w + a, None), x, c)
        return x

    program = jax.make_jaxpr(f)(1.0, 1.0, jnp.ones(3), 1.0, 1.0, 1.0)
    a, b, c, d, e, _ = first_uses(program.jaxpr)
    assert d < b < c < a < e == np.inf


@pytest.mark.slow
def test_one_compilation_and_vmap():
    calls = []

    class Counting(networks.Dataclass):
        def __call__(self, x):
            calls.append(1)
            return super().__call__(x)

    jax.tree_util.register_dataclass(Counting, ["kernel", "head"], [])
    nets = [Counting(**vars(networks.make("dataclass", i))) for i in (0, 1)]
    clips = jnp.stack([networks.clip(i) for i in (0, 1)])
    method = functools.partial(jaxattr.smooth_grad, num_samples=2)
    first = sanity_check(method, nets[0])(clips[0], 2, key=KEY)
    count = len(calls)
    method = functools.partial(jaxattr.smooth_grad, num_samples=2)
    other = sanity_check(method, nets[1])(clips[1], 3, key=jax.random.key(1))
    assert len(calls) == count
    assert not np.allclose(first.spearman, other.spearman)
    check = sanity_check(method, nets[0])
    keys = jnp.stack([KEY, jax.random.key(1)])
    batch = jax.vmap(lambda c, t, k: check(c, t, key=k))(clips, jnp.array([2, 3]), keys)
    np.testing.assert_allclose(batch.spearman[0], first.spearman, rtol=1e-9)
    assert batch.layers == first.layers == ("head", "kernel")


def test_bad_settings_are_named():
    net = networks.make("nnx")
    for settings in ({"order": "up"}, {"draw": "zero"}, {"depth": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
            sanity_check(jaxattr.saliency, net, **settings)
    check = sanity_check(jaxattr.saliency, networks.make("function"))
    with pytest.raises(ValueError, match="no parameters"):
        check(networks.clip(), 0, key=KEY)
