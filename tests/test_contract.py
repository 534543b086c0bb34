"""One contract over all methods: every row of the table, whatever its family."""

import functools
import inspect

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

from jaxattr._registry import METHODS
from jaxattr.perturbation import init_masking_model


def takes(name, setting):
    return setting in inspect.signature(METHODS[name].transform).parameters


# Settings that keep a run small; optimisation loops are compared over 10 iterations.
SETTINGS = {
    "integrated_gradients": {"num_steps": 5},
    "blur_integrated_gradients": {"num_steps": 5},
    "smooth_grad": {"num_samples": 5},
    "expected_gradients": {
        "num_samples": 5,
        "baselines": np.random.default_rng(9).normal(size=(3, *networks.SHAPE)),
    },
    "step": {"areas": (0.1, 0.3), "num_iterations": 10},
    "extremal_perturbation": {"areas": (0.1, 0.3), "num_iterations": 10},
    "fgvis": {"sparsity": 1.0, "num_iterations": 10},
    "temporal_mask": {"num_iterations": 10},
    "meaningful_perturbation": {"num_iterations": 10},
    # Its weights are random: no cell is worth the published price.
    "igos": {
        **{"num_iterations": 10, "num_steps": 3, "grid": (6, 5, 6)},
        **{"sparsity": 0.0, "smoothness": 0.1},
    },
    "perceptual_ball": {"num_iterations": 10, "layers": ("cells",)},
    "frequency_extremal_perturbation": {"areas": (0.1, 0.3), "num_iterations": 10},
    # Its weights are random: no cell is worth the published price.
    "igos_pp": {
        **{"num_iterations": 10, "num_steps": 3, "grid": (6, 5, 6)},
        **{"sparsity": 0.0, "smoothness": 0.1},
    },
    "zoom_cam": {"layers": ("cells",)},
    **{
        name: {"layer": "cells"}
        for name, method in METHODS.items()
        if "layer" in inspect.signature(method.transform).parameters
    },
    "channel_extremal_perturbation": {
        **{"areas": (0.25, 0.5), "num_iterations": 10, "layer": "cells"},
    },
    # Its weights are random: at 0.6 few channels are kept.
    "class_feature_pyramids": {"layer": "cells", "threshold": 0.2},
}
SMALL = {"num_masks": 30, "num_segments": 12, "num_samples": 40, "num_regions": 3}
SETTINGS |= {
    name: {k: v for k, v in SMALL.items() if takes(name, k)}
    for name, method in METHODS.items()
    if method.inputs or takes(name, "num_masks")
}
SETTINGS |= {
    name: {"tokens": networks.TOKENS}
    for name, method in METHODS.items()
    if method.family == "attention"
}
KEY = jax.random.key(0)
INPUTS = {
    name: method.make_inputs(np.asarray(networks.clip()), SETTINGS.get(name, {}))
    for name, method in METHODS.items()
}
# One method of each mechanism: what differs from it by a formula or a setting has tests
# of its own, and its rows here are slow.
MECHANISMS = (
    *(
        "saliency",
        "integrated_gradients",
        "smooth_grad",
        "step",
        "rise",
        "kernel_shap",
        "grad_cam",
        "score_cam",
    ),
    *("guided_backprop", "excitation_backprop", "lrp", "deep_lift"),
    "transformer_attribution",
)
# Of these, means over samples, searches and rules that another stands for, only the
# rows about values, chunks and scores are fast; they have tests of their own.
SEEN_ELSEWHERE = ("integrated_gradients", "step", "rise", "kernel_shap")
SEEN_ELSEWHERE += ("guided_backprop", "excitation_backprop", "deep_lift")


def rows(names, fast):
    """Parameters for those methods; all but the fast ones are slow."""
    return [
        name if fast(name) else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


def chosen(name):
    return name in MECHANISMS and name not in SEEN_ELSEWHERE


every_method = pytest.mark.parametrize("name", rows(METHODS, chosen))


@functools.cache
def masking_params(kind):
    """Parameters of a masking model as they are drawn."""
    f, clips = networks.make(kind), networks.clip()[None]
    return init_masking_model(f, clips, key=KEY, taps=("cells",), channels=4)


def explain_of(name, f, **more):
    """The method on a network, with what it takes beside a clip and a target."""
    settings = {**SETTINGS.get(name, {}), **more}
    if "params" in METHODS[name].needs:  # They are for the width of the layer.
        wide = isinstance(f, (networks.NNX, jax.tree_util.Partial))
        settings["params"] = masking_params("nnx" if wide else "dataclass")
    explain = METHODS[name].transform(f, **settings)
    return jax.tree_util.Partial(explain.func, *explain.args, **INPUTS[name])


def make(name, kind="nnx", seed=0, dtype=jnp.float64):
    """A network of what the method needs."""
    attention = METHODS[name].family == "attention"
    return networks.make(kind, seed, dtype, attention)


def assert_close(got, want, dtype):
    tolerance = 1e-12 if dtype == jnp.float64 else 1e-5
    # A residual is a difference of sums: what it loses is in units of the values.
    values = np.asarray(jax.tree.leaves(want)[0], np.float64)
    least = max(1e-30, 1e-4 * np.nansum(np.abs(values))) if values.ndim > 2 else 1e-30
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        scale = np.nanmax(np.abs(b), initial=1e-30 if b.ndim else least)
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance * 100)


KINDS = {
    "nnx-float32": ("nnx", jnp.float32),
    "nnx-float64": ("nnx", jnp.float64),
    "linen": ("linen", jnp.float32),
    "dataclass": ("dataclass", jnp.float64),
    "function": ("function", jnp.float32),
}
# What a network is made of is the same to all methods, so one sees every kind, and one
# with rules a kind more: `trace` has tests of all.
FAST_VALUES = [
    *(("saliency", kind) for kind in KINDS if kind != "dataclass"),
    ("lrp", "linen"),
    # These two are seen with a score of their own.
    *((n, "nnx-float64") for n in MECHANISMS if n not in ("step", "kernel_shap")),
]


@pytest.mark.parametrize(
    ("name", "kind", "dtype"),
    [
        pytest.param(
            name,
            *KINDS[kind],
            id=f"{name}-{kind}",
            marks=() if (name, kind) in FAST_VALUES else pytest.mark.slow,
        )
        for name in METHODS
        for kind in KINDS
    ],
)
def test_values_are_raw_wide_and_the_same_under_jit(name, kind, dtype):
    f, clip = make(name, kind, dtype=dtype), networks.clip(dtype=dtype)
    explain = explain_of(name, f)
    target = int(f(clip).argmax())  # Something speaks for it in every layer.
    direct = explain(clip, target, key=KEY)
    assert direct._fields[0] == "values"
    assert direct.values.dtype == dtype
    assert direct.values.shape in (clip.shape, clip.shape[:3])
    assert np.isfinite(direct.values).all()
    assert np.abs(direct.values).max() > 0
    passed = jax.jit(lambda e, c, t, k: e(c, t, key=k))(explain, clip, target, KEY)
    assert_close(passed, direct, dtype)


@every_method
def test_vmap_equals_loop(name):
    f = make(name)
    explain = explain_of(name, f)
    clips = jnp.stack([networks.clip(i) for i in range(3)])
    targets = jnp.array([0, 4, 2])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(3))
    batch = jax.vmap(lambda c, t, k: explain(c, t, key=k))(clips, targets, keys)
    for i in range(3):
        one = explain(clips[i], int(targets[i]), key=keys[i])
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], batch), one, jnp.float64)


@pytest.mark.parametrize(
    "name",
    rows(
        [n for n in MECHANISMS if takes(n, "chunk")],
        lambda name: name in ("integrated_gradients", "rise"),
    ),
)
def test_chunk_changes_nothing(name):
    f, clip = make(name), networks.clip()
    whole = explain_of(name, f, chunk=None)(clip, 1, key=KEY)
    for chunk in (3, 100) if name == "integrated_gradients" else (3,):
        assert_close(
            explain_of(name, f, chunk=chunk)(clip, 1, key=KEY), whole, jnp.float64
        )


def counting():
    """A class of networks that counts how often its Python runs.

    A new one each time: methods share what they traced of a network.
    """

    class Counting(networks.Dataclass):
        calls = 0

        def __call__(self, x):
            Counting.calls += 1
            return super().__call__(x)

    return jax.tree_util.register_dataclass(Counting, ["kernel", "head"], ["attention"])


@every_method
def test_one_trace_serves_every_network_clip_target_and_key(name):
    Counting = counting()
    first, other = (Counting(**vars(make(name, "dataclass", i))) for i in (0, 1))
    a = explain_of(name, first)(networks.clip(0), 2, key=KEY)
    assert Counting.calls == 1
    b = explain_of(name, other)(networks.clip(1), 3, key=jax.random.key(1))
    explain_of(name, first)(networks.clip(1), np.int64(1), key=KEY)
    assert Counting.calls == 1
    assert not np.allclose(a.values, b.values)


def test_equal_structure_of_another_class_is_another_network():
    class Doubled(networks.Dataclass):
        def __call__(self, x):
            return 2 * super().__call__(x)

    jax.tree_util.register_dataclass(Doubled, ["kernel", "head"], ["attention"])
    f = networks.make("dataclass")
    single, double = (
        METHODS["saliency"].transform(g)(networks.clip(), 1).values
        for g in (f, Doubled(**vars(f)))
    )
    np.testing.assert_allclose(double, 2 * np.asarray(single), rtol=1e-12)


@pytest.mark.slow
def test_narrow_integers_name_classes_beyond_their_range_of_counts():
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(400, 384)))
    f = jax.tree_util.Partial(lambda w, x: w @ jnp.tanh(x).ravel(), weight)
    clip = networks.clip(shape=(2, 8, 8, 3))
    for name, settings in (
        ("saliency", {}),
        ("step", {"areas": (0.2,), "num_iterations": 2, "variant": "delete"}),
    ):
        explain = METHODS[name].transform(f, **settings)
        jitted = jax.jit(lambda e, c, t: e(c, t).values)
        want = jitted(explain, clip, jnp.int32(200))
        assert np.isfinite(want).all()
        got = jitted(explain, clip, jnp.uint8(200))
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", ["saliency", "smooth_grad"])
def test_concrete_inputs_under_an_outer_trace(name):
    f, clip = make(name), networks.clip()
    explain = explain_of(name, f)
    direct = explain(clip, 1, key=KEY).values
    keys = jax.jit(lambda k: explain(clip, 1, key=k).values)(KEY)
    scaled = jax.jit(lambda y: y * explain(clip, 1, key=KEY).values)(2.0)
    assert_close(keys, direct, jnp.float64)
    assert_close(scaled, 2 * direct, jnp.float64)


def test_a_bound_method_is_explained_with_its_weights_of_the_moment():
    class Net(networks.NNX):
        def logits(self, x):
            return self(x)

    net, clip = Net(0, jnp.float64), networks.clip()
    transform = METHODS["saliency"].transform
    before = transform(net.logits)(clip, 1).values
    net.head.kernel[...] = net.head.kernel[...] * 2
    after = transform(net.logits)(clip, 1).values
    np.testing.assert_allclose(after, 2 * np.asarray(before), rtol=1e-12)


def test_equal_static_parts_of_other_types_are_other_networks():
    def f(flag, x):
        return (x.mean((0, 1, 2)) * (2 if flag is True else 1))[:2]

    clip = networks.clip()
    one, true = (
        METHODS["saliency"].transform(jax.tree_util.Partial(f, flag))(clip, 1).values
        for flag in (1, True)
    )
    np.testing.assert_allclose(true, 2 * np.asarray(one))


class Large(networks.Dataclass):
    """A network whose weights would show in the text of the program."""

    def __init__(self, kernel, head, large, attention=False):
        super().__init__(kernel, head, attention)
        self.large = large

    def __call__(self, x):
        return super().__call__(x) + 1e-9 * self.large.sum()


jax.tree_util.register_dataclass(Large, ["kernel", "head", "large"], ["attention"])


@every_method
def test_no_large_constant_in_the_lowered_text(name):
    large = jnp.asarray(np.random.default_rng(3).normal(size=(300_000,)))
    f = Large(**vars(make(name, "dataclass")), large=large)
    explain, clip = explain_of(name, f), networks.clip()
    clips, targets, keys = clip[None], jnp.array([2]), KEY[None]

    def passed(e, c, t, k):
        return e(c, t, key=k)

    def mapped(e, c, t, k):
        return jax.vmap(lambda c, t, k: e(c, t, key=k))(c, t, k)

    for function, args in ((passed, (clip, 2, KEY)), (mapped, (clips, targets, keys))):
        text = jax.jit(function).lower(explain, *args).as_text()
        assert len(text) < 1_500_000
        assert max(map(len, text.splitlines())) < 200_000


@every_method
def test_a_bad_target_is_refused_or_gives_nan(name):
    f, clip = make(name), networks.clip()
    explain = explain_of(name, f)
    for target in (networks.CLASSES, -1):
        with pytest.raises(ValueError, match=r"`target`.*0\.\.4"):
            explain(clip, target, key=KEY)
        traced = jax.jit(lambda c, t: explain(c, t, key=KEY).values)(clip, target)
        assert np.isnan(traced).all()
    for target in (1.0, "cat", True, None):
        with pytest.raises(TypeError, match="`target`"):
            explain(clip, target, key=KEY)
    with pytest.raises(TypeError, match="`target`"):
        jax.jit(lambda c, t: explain(c, t, key=KEY))(clip, 1.0)


@every_method
def test_bad_clips_and_networks_are_named(name):
    f, clip = make(name), networks.clip()
    explain = explain_of(name, f)
    with pytest.raises(TypeError, match=r"`clip`.*floating point.*uint8"):
        explain(np.zeros(networks.SHAPE, np.uint8), 0, key=KEY)
    with pytest.raises(TypeError, match="`clip`"):
        explain([[0.0]], 0, key=KEY)
    if METHODS[name].random:
        with pytest.raises(ValueError, match="`key`"):
            explain(clip, 0)
        with pytest.raises(TypeError, match="`key`"):
            explain(clip, 0, key=np.zeros(2, np.uint32))
    with pytest.raises(ValueError, match=r"`f` must map one clip to logits \[K\]"):
        explain_of(name, lambda x: x.mean((1, 2)))(clip, 0, key=KEY)
    with pytest.raises(TypeError, match="`f`"):
        explain_of(name, 3)
    if takes(name, "score"):
        with pytest.raises(ValueError, match="`score`"):
            explain_of(name, f, score="logits")


@every_method
def test_a_nan_in_the_clip_propagates(name):
    f = make(name)
    clip = networks.clip().at[2, 3, 4, 1].set(jnp.nan)
    explain = explain_of(name, f)
    values = jax.jit(lambda e, c: e(c, 1, key=KEY).values)(explain, clip)
    assert np.isnan(values).any()


@pytest.mark.parametrize(
    "name",  # Rules are worked out by hand in tests/rules/test_bfloat16.py.
    rows(METHODS, lambda name: chosen(name) and METHODS[name].family != "rules"),
)
def test_a_bfloat16_network_gives_float32_values(name):
    f = make(name, dtype=jnp.bfloat16)
    got = explain_of(name, f)(networks.clip(dtype=jnp.bfloat16), 1, key=KEY)
    assert got.values.dtype == jnp.float32
    assert np.isfinite(got.values).all()


@pytest.mark.parametrize(
    "name",
    rows([n for n in METHODS if takes(n, "score")], lambda name: name in MECHANISMS),
)
def test_a_callable_score_takes_any_output_and_target(name):
    def f(x):  # One logit per frame, and a regression beside it.
        inside = METHODS[name].family in ("layers", "rules")
        if inside or takes(name, "layer") or takes(name, "layers"):
            x = networks.cells(x)
        if METHODS[name].family == "rules":  # Some are of layers with weights.
            x = x @ jnp.eye(x.shape[-1], dtype=x.dtype)
        if METHODS[name].family == "attention":
            x = networks.attend(x).reshape(*networks.TOKENS, -1).repeat(2, 0)
        return {"frames": (x**2).mean((1, 2)), "speed": 1e-3 * jnp.tanh(x).mean()}

    def score(output, target):
        return output["frames"][target["frame"], 1] + output["speed"]

    explain = explain_of(name, f, score=score)
    got = explain(networks.clip(), {"frame": 3}, key=KEY)
    frames = np.abs(got.values).reshape(networks.SHAPE[0], -1).sum(1)
    assert np.isfinite(frames).all()
    # What weighs a channel does so for all frames, attention goes from all to all, and
    # what a method is given may cross frames.
    crosses = METHODS[name].family in ("layers", "attention") or INPUTS[name]
    if not crosses and name != "channel_extremal_perturbation":
        assert frames.argmax() == 3


@every_method
def test_the_network_of_the_moment_is_explained(name):
    f, clip = make(name), networks.clip()
    explain = explain_of(name, f)
    before = explain(clip, 1, key=KEY)
    f.head.kernel[...] = f.head.kernel[...] * -3
    assert_close(explain(clip, 1, key=KEY), before, jnp.float64)
