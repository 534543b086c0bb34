"""One contract over all metrics that ask the network about a heat map."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics

KEY = jax.random.key(0)
BLOCK = {"block": slow.BLOCK}
# Name -> transform, settings that keep a run small, input after the target.
METRICS = {
    "insertion": (metrics.insertion, {"num_steps": 5, **BLOCK}),
    "deletion": (metrics.deletion, {"num_steps": 5, "unit": "voxel"}),
    "insertion_supervoxel": (
        metrics.insertion,
        {"num_steps": 5, "unit": "supervoxel"},
    ),
    "aopc": (metrics.aopc, {"num_steps": 5, **BLOCK}),
    "abpc": (metrics.abpc, {"num_steps": 3, "unit": "frame"}),
    "road": (metrics.road, {"fractions": (0.2, 0.6)}),
    "faithfulness": (metrics.faithfulness, {"num_samples": 6, **BLOCK}),
    "faithfulness_single": (
        metrics.faithfulness,
        {"subsets": "single", "unit": "frame"},
    ),
    "completeness": (metrics.completeness, {"baseline": 0.0}),
    "average_drop": (metrics.average_drop, {}),
}
# What differs from one of these by a setting or a sum has slow rows.
FAST = ("insertion", "road", "faithfulness", "completeness", "average_drop")
# The two that draw read their input, and go by chunks, as insertion does.
ALIKE = ("insertion", "completeness", "average_drop")


def rows(names, fast=FAST):
    """Parameters for those metrics."""
    slow = pytest.mark.slow
    return [n if n in fast else pytest.param(n, marks=slow) for n in names]


of_each_kind = pytest.mark.parametrize("name", rows(METRICS))
of_each_input = pytest.mark.parametrize("name", rows(METRICS, ALIKE))


def metric_of(name, f=None, **more):
    transform, settings = METRICS[name]
    metric = transform(slow.network() if f is None else f, **{**settings, **more})
    segments = jnp.asarray(np.random.default_rng(3).integers(0, 7, slow.MAP))

    def call(clip, target, heat, key=KEY, metric=metric):
        more = (segments,) if name == "insertion_supervoxel" else ()
        return metric(clip, target, heat, *more, key=key)

    return metric, call


def inputs(name, seed=1, dtype=jnp.float64):
    """Clip and heat map, or the values that `completeness` takes."""
    clip, heat = (jnp.asarray(x, dtype) for x in slow.clip_and_heat(seed))
    return (clip, clip * heat[..., None]) if name == "completeness" else (clip, heat)


def assert_close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@of_each_kind
def test_jit_equals_eager_and_the_first_field_is_a_number(name):
    clip, heat = inputs(name)
    metric, call = metric_of(name)
    direct = call(clip, 2, heat)
    assert direct[0].shape == ()
    assert np.isfinite(direct[0])
    assert all(leaf.dtype == jnp.float64 for leaf in direct)
    jitted = jax.jit(lambda m, c, t, h, k: call(c, t, h, k, metric=m))
    assert_close(jitted(metric, clip, 2, heat, KEY), direct)


@of_each_kind
def test_vmap_equals_loop(name):
    _, call = metric_of(name)
    clips, heats = map(jnp.stack, zip(*(inputs(name, seed) for seed in range(3))))
    targets = jnp.array([0, 4, 2])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(3))
    batch = jax.vmap(call)(clips, targets, heats, keys)
    for i in range(3):
        one = call(clips[i], int(targets[i]), heats[i], keys[i])
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], batch), one)


@pytest.mark.parametrize(
    "name",
    rows(
        [n for n in METRICS if "chunk" in inspect.signature(METRICS[n][0]).parameters],
        ALIKE,
    ),
)
def test_chunk_changes_nothing(name):
    clip, heat = inputs(name)
    whole = metric_of(name)[1](clip, 1, heat)
    for chunk in (4, 100):
        assert_close(metric_of(name, chunk=chunk)[1](clip, 1, heat), whole)


class Counting:
    """Counts how often its Python runs."""

    calls = 0

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __call__(self, clip):
        Counting.calls += 1
        return self.second @ jnp.tanh(self.first @ clip.ravel())


jax.tree_util.register_dataclass(Counting, ["first", "second"], [])


@of_each_kind
def test_one_trace_serves_every_network_clip_target_and_map(name):
    first, other = (Counting(*map(jnp.asarray, slow.weights(i))) for i in (0, 1))
    Counting.calls = 0
    a = metric_of(name, first)[1](inputs(name)[0], 2, inputs(name)[1])
    assert Counting.calls == 1
    clip, heat = inputs(name, 5)
    b = metric_of(name, other)[1](clip, np.int64(1), heat, jax.random.key(1))
    assert Counting.calls == 1
    assert not np.allclose(a[0], b[0])


@of_each_input
def test_the_target_is_checked(name):
    clip, heat = inputs(name)
    metric, call = metric_of(name)
    for target in (slow.CLASSES, -1):
        with pytest.raises(ValueError, match=r"`target`.*0\.\.4"):
            call(clip, target, heat)
        traced = jax.jit(lambda m, t: call(clip, t, heat, metric=m))(metric, target)
        assert np.isnan(traced[0])
    with pytest.raises(TypeError, match="`target`"):
        call(clip, 1.0, heat)


@of_each_input
def test_maps_that_are_not_finite_raise_or_give_nan(name):
    clip, heat = inputs(name)
    metric, call = metric_of(name)
    for bad in (jnp.nan, jnp.inf):
        broken = heat.at[1, 2, 3].set(bad)
        with pytest.raises(ValueError, match=r"(`heatmap`|`values`).*finite"):
            call(clip, 0, broken)
        traced = jax.jit(lambda m, h: call(clip, 0, h, metric=m))(metric, broken)
        assert np.isnan(traced[0])
        both = jax.vmap(lambda h: call(clip, 0, h)[0])(jnp.stack([heat, broken]))
        assert np.isfinite(both[0])
        assert np.isnan(both[1])


@of_each_kind
def test_maps_of_other_kinds_are_named(name):
    clip, heat = inputs(name)
    _, call = metric_of(name)
    for wrong in (heat[:, ::2, ::2], heat[0], clip[..., :1], heat[None]):
        with pytest.raises(ValueError, match=r"(`heatmap`|`values`).*to_heatmap"):
            call(clip, 0, wrong)
    for wrong in (heat > 0, [[1.0]], None):
        with pytest.raises(TypeError, match=r"(`heatmap`|`values`)"):
            call(clip, 0, wrong)


@of_each_kind
def test_clips_are_one_array(name):
    clip, heat = inputs(name)
    _, call = metric_of(name)
    for wrong in ({"rgb": clip}, (clip, clip), clip[None], clip[0]):
        with pytest.raises((TypeError, ValueError), match="`clip`"):
            call(wrong, 0, heat)
    with pytest.raises(TypeError, match=r"`clip`.*floating"):
        call(np.zeros(slow.SHAPE, np.uint8), 0, heat)


@of_each_kind
def test_the_call_takes_what_it_says(name):
    clip, heat = inputs(name)
    metric, _ = metric_of(name)
    with pytest.raises(TypeError, match=r"`clip`, `target`, .*missing"):
        metric(clip, 0, key=KEY)
    with pytest.raises(TypeError, match=r"`clip`, `target`, .*map"):
        metric(clip, 0, heat, map=heat, key=KEY)
    with pytest.raises(TypeError, match=r"`clip`, `target`, .*too many"):
        metric(clip, 0, heat, heat, heat, key=KEY)
    with pytest.raises(TypeError, match="`f`"):
        metric_of(name, 3)
    with pytest.raises(ValueError, match="`score`"):
        metric_of(name, score="probability")
    if name in ("road", "faithfulness"):
        with pytest.raises(ValueError, match="`key`"):
            metric(clip, 0, heat)


@of_each_kind
def test_the_key_decides(name):
    clip, heat = inputs(name)
    _, call = metric_of(name)
    again, other = (call(clip, 0, heat, jax.random.key(i)) for i in (0, 1))
    assert_close(call(clip, 0, heat), again)
    same = np.allclose(again[0], other[0], rtol=1e-12)
    assert same == (name not in ("road", "faithfulness"))


@of_each_kind
def test_a_bfloat16_network_is_measured_in_float32(name):
    first, second = (jnp.asarray(w, jnp.bfloat16) for w in slow.weights())
    f = jax.tree_util.Partial(
        lambda a, b, x: b @ jnp.tanh(a @ x.ravel()), first, second
    )
    clip, heat = inputs(name, dtype=jnp.bfloat16)
    got = metric_of(name, f)[1](clip, 1, heat)
    assert all(leaf.dtype == jnp.float32 for leaf in got)
    assert np.isfinite(got[0])


@of_each_kind
def test_constant_maps_are_legal(name):
    clip, heat = inputs(name)
    _, call = metric_of(name)
    for constant in (0.0, 1.0):
        got = call(clip, 0, jnp.full_like(heat, constant))
        assert np.isfinite(got[0]) or name.startswith("faithfulness")
        assert getattr(got, "tied", 1) == 1


@of_each_kind
def test_nothing_of_the_callers_changes(name):
    clip, heat = (np.array(x) for x in inputs(name))
    copies = clip.copy(), heat.copy()
    metric_of(name)[1](clip, 0, heat)
    np.testing.assert_array_equal(clip, copies[0])
    np.testing.assert_array_equal(heat, copies[1])
