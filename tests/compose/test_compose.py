"""Methods made of methods, against NumPy by hand and the method called by itself."""

import functools

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

import jaxattr
from jaxattr import (
    contrast,
    input_x_gradient,
    integrated_gradients,
    saliency,
    smooth,
    smooth_grad,
    topk,
)

KEY = jax.random.key(5)
SHAPE, CLASSES = (2, 3, 4, 2), 5
RNG = np.random.default_rng(0)
WEIGHT, CLIP = RNG.normal(size=(CLASSES, *SHAPE)), RNG.normal(size=SHAPE)


def quadratic(x):
    return (jnp.asarray(WEIGHT) * (x**2)[None]).sum((1, 2, 3, 4))


def every(explain, key=KEY, target=1):
    """Called directly, passed into a jit, and in a batch of two."""
    clips, targets = jnp.asarray([CLIP, -CLIP]), jnp.asarray([target, target])
    batch = jax.vmap(lambda c, t: explain(c, t, key=key))(clips, targets)
    yield explain(CLIP, target, key=key)
    yield jax.jit(lambda e, c, t, k: e(c, t, key=k))(explain, CLIP, target, key)
    yield jax.tree.map(lambda leaf: leaf[0], batch)


def test_smooth_of_the_gradient_is_smooth_grad():
    f = lambda x: jnp.sin(quadratic(x))
    settings = {"num_samples": 4, "noise": 0.2}
    want = smooth_grad(f, score="log_prob", **settings)(CLIP, 1, key=KEY)
    for chunk in (None, 3):
        method = smooth(saliency, **settings, chunk=chunk)
        got = method(f, score="log_prob")(CLIP, 1, key=KEY)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_smooth_of_a_quadratic_method():
    # Element i: the mean of 2 w (x + e)^2 is 2 w (x^2 + s^2), e ~ N(0, s^2).
    sigma = 0.3 * (CLIP.max() - CLIP.min())
    method = smooth(input_x_gradient, num_samples=1000, noise=0.3, chunk=250)
    want = 2 * WEIGHT[1] * (CLIP**2 + sigma**2)
    variance = 4 * WEIGHT[1] ** 2 * (2 * sigma**4 + 4 * CLIP**2 * sigma**2)
    for got in every(method(quadratic)):
        assert np.abs((got.values - want) / np.sqrt(variance / 1000)).max() < 5
        np.testing.assert_allclose(
            got.standard_error, np.sqrt(variance / 1000), rtol=0.2
        )


def test_each_sample_of_a_random_method_has_its_own_key():
    inner = functools.partial(smooth_grad, num_samples=1, noise=0.3)
    explain = smooth(inner, num_samples=400, noise=0.0, chunk=100)(quadratic)
    got = explain(CLIP, 1, key=KEY)
    # The clip stays; gradients vary with the noise of the method alone.
    spread = 2 * np.abs(WEIGHT[1]) * 0.3 * (CLIP.max() - CLIP.min())
    np.testing.assert_allclose(got.standard_error * 20, spread, rtol=0.2)
    assert not np.allclose(explain(CLIP, 1, key=jax.random.key(6)).values, got.values)


def test_contrast_of_logits_by_hand():
    want = 2 * (WEIGHT[1] - WEIGHT[4]) * CLIP
    explain = contrast(saliency)(quadratic)
    np.testing.assert_allclose(explain(CLIP, (1, 4)).values, want, rtol=1e-12)
    # The odds of two classes are those of their logits.
    explain = contrast(saliency, score="log_prob")(quadratic)
    np.testing.assert_allclose(explain(CLIP, (1, 4)).values, want, rtol=1e-9)
    targets = jnp.asarray([[1, 4], [3, 0]], jnp.uint8)
    batch = jax.vmap(lambda a, b: explain(CLIP, (a, b)).values)(*targets.T)
    np.testing.assert_allclose(batch[0], want, rtol=1e-9)
    np.testing.assert_allclose(batch[1], 2 * (WEIGHT[3] - WEIGHT[0]) * CLIP, rtol=1e-9)


def test_contrast_of_probabilities_by_finite_differences():
    def change(x):
        z = np.exp((WEIGHT * x**2).sum((1, 2, 3, 4)))
        return (z[2] - z[0]) / z.sum()

    got = contrast(saliency, score="prob")(quadratic)(0.2 * CLIP, (2, 0)).values
    for place in np.ndindex(SHAPE):
        step = np.zeros(SHAPE)
        step[place] = 1e-5
        slope = (change(0.2 * CLIP + step) - change(0.2 * CLIP - step)) / 2e-5
        np.testing.assert_allclose(got[place], slope, rtol=1e-6, atol=1e-8)


def test_contrast_checks_both_classes():
    explain = contrast(saliency)(quadratic)
    for pair in ((0, CLASSES), (-1, 0)):
        with pytest.raises(ValueError, match=r"`target`.*0\.\.4"):
            explain(CLIP, pair)
        traced = jax.jit(lambda a, b: explain(CLIP, (a, b)).values)(*pair)
        assert np.isnan(traced).all()
    for target in (1, (1, 2, 3)):
        with pytest.raises(TypeError, match=r"`target`.*pair"):
            explain(CLIP, target)
    with pytest.raises(TypeError, match="score"):
        contrast(lambda f: f)(quadratic)(CLIP, (0, 1))
    with pytest.raises(ValueError, match="`score`"):
        contrast(saliency, score="logits")
    # It is not that of the method, which would be of one class.
    for explain in (
        contrast(saliency)(quadratic, score="prob"),
        contrast(functools.partial(saliency, score="prob"))(quadratic),
    ):
        with pytest.raises(ValueError, match=r"`score`.*contrast.*'prob'"):
            explain(CLIP, (0, 1))


def test_topk_explains_the_most_probable():
    logits = (WEIGHT * CLIP**2).sum((1, 2, 3, 4))
    order = np.argsort(-logits)[:3]
    prob = np.exp(logits - logits.max())
    explain = topk(input_x_gradient, 3)(quadratic)
    for got in (
        explain(CLIP),
        jax.jit(lambda e, c: e(c))(explain, CLIP),
        jax.tree.map(lambda leaf: leaf[1], jax.vmap(explain)(jnp.stack([-CLIP, CLIP]))),
    ):
        np.testing.assert_array_equal(got.targets, order)
        np.testing.assert_allclose(got.probabilities, (prob / prob.sum())[order])
        np.testing.assert_allclose(got.values, 2 * WEIGHT[order] * CLIP**2, rtol=1e-12)
        np.testing.assert_array_equal(got.results.values, got.values)


def test_topk_is_one_forward_pass():
    f, clip = networks.make("nnx"), networks.clip()

    def flops(function, *args):
        return jax.jit(function).lower(*args).compile().cost_analysis()["flops"]

    forward = flops(lambda f, c: jaxattr.fold_convs(f)(c), f, clip)
    gradient = flops(lambda e, c: e(c, 1), saliency(f), clip)
    several = flops(lambda e, c: e(c), topk(saliency, 4)(f), clip)
    assert several < 4 * gradient - 2 * forward


def test_compositions_compose():
    # The contrast of a quadratic network has a gradient whose mean is that at the clip.
    method = smooth(contrast(input_x_gradient), num_samples=7, noise=0.0)
    got = method(quadratic)(CLIP, (2, 0), key=KEY)
    np.testing.assert_allclose(
        got.values, 2 * (WEIGHT[2] - WEIGHT[0]) * CLIP**2, rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"`target`.*0\.\.4"):
        method(quadratic)(CLIP, (2, 9), key=KEY)
    inner = smooth(saliency, num_samples=3)
    got = topk(inner, 2)(quadratic)(CLIP, key=KEY)
    for i in range(2):
        one = inner(quadratic)(CLIP, int(got.targets[i]), key=KEY)
        np.testing.assert_allclose(got.values[i], one.values, rtol=1e-12)
        np.testing.assert_allclose(
            got.results.standard_error[i], one.standard_error, rtol=1e-9
        )


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_methods_on_segments_compose(array):
    segments = np.arange(24).reshape(SHAPE[:3]) % 4
    named = {"segments": array(segments)}
    settings = {"num_segments": 4}
    got = contrast(jaxattr.swag)(quadratic, **settings)(CLIP, (1, 3), **named)
    slope = np.abs(2 * (WEIGHT[1] - WEIGHT[3]) * CLIP).mean(-1)
    want = [slope[segments == n].mean() for n in range(4)]
    np.testing.assert_allclose(got.segment_values, want, rtol=1e-12)
    every = topk(jaxattr.swag, CLASSES)(quadratic, **settings)(CLIP, **named)
    slopes = np.abs(2 * WEIGHT * CLIP).mean(-1)[np.asarray(every.targets)]
    want = [[s[segments == n].mean() for n in range(4)] for s in slopes]
    np.testing.assert_allclose(every.results.segment_values, want, rtol=1e-12)
    still = smooth(jaxattr.swag, num_samples=2, noise=0.0)(quadratic, **settings)
    values = still(CLIP, every.targets[0], key=KEY, **named).values
    np.testing.assert_allclose(values, every.values[0], rtol=1e-12)
    with pytest.raises(ValueError, match="`segments` must have labels"):
        contrast(jaxattr.swag)(quadratic, num_segments=3)(CLIP, (1, 3), **named)


def test_arrays_and_weights_are_those_of_the_moment():
    base = np.zeros(SHAPE)
    inner = functools.partial(integrated_gradients, baseline=base, num_steps=2)
    for value in (0.0, 0.5):
        base[...] = value
        got = contrast(inner)(quadratic)(CLIP, (2, 0)).values
        want = (WEIGHT[2] - WEIGHT[0]) * (CLIP**2 - value**2)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    f, clip = networks.make("nnx"), networks.clip()
    before = contrast(saliency)(f.__call__)(clip, (2, 0)).values
    f.head.kernel[...] = f.head.kernel[...] * -3
    after = contrast(saliency)(f.__call__)(clip, (2, 0)).values
    np.testing.assert_allclose(after, -3 * np.asarray(before), rtol=1e-10)


def test_probabilities_of_a_narrow_network_are_wide():
    half = lambda x: quadratic(x.astype(float)).astype(jnp.bfloat16)
    got = topk(saliency, 2)(half)(CLIP)
    assert got.probabilities.dtype == jnp.float32
    z = np.asarray(half(CLIP), np.float64)
    want = np.sort(np.exp(z - z.max()) / np.exp(z - z.max()).sum())[:-3:-1]
    np.testing.assert_allclose(got.probabilities, want, rtol=1e-5)


class Counting(networks.Dataclass):
    """Counts how often its Python runs."""

    calls = 0

    def __call__(self, x):
        Counting.calls += 1
        return super().__call__(x)


jax.tree_util.register_dataclass(Counting, ["kernel", "head"], ["attention"])


@pytest.mark.parametrize(
    ("method", "targets"),
    [
        (smooth(saliency, num_samples=2), (0, 3)),
        (contrast(saliency), ((0, 1), (3, 2))),
        (topk(saliency, 2), (None, None)),
    ],
)
def test_another_network_clip_target_and_key_compile_nothing(method, targets):
    first, other = (Counting(**vars(networks.make("dataclass", i))) for i in (0, 1))
    method(first)(networks.clip(0), targets[0], key=KEY)
    Counting.calls = 0
    a = method(other)(networks.clip(1), targets[1], key=jax.random.key(1))
    assert Counting.calls == 0
    b = method(first)(networks.clip(1), targets[1], key=jax.random.key(1))
    assert not np.allclose(a.values, b.values)
    text = jax.jit(lambda e, c, k: e(c, targets[0], key=k))
    text = text.lower(method(first), networks.clip(), KEY).as_text()
    assert max(map(len, text.splitlines())) < 20_000


@pytest.mark.slow
def test_metrics_take_compositions():
    method = smooth(saliency, num_samples=2)
    f = networks.make("dataclass")
    check = jaxattr.metrics.sanity_check(method, f)
    assert np.isfinite(check(networks.clip(), 1, key=KEY).spearman).all()


def test_settings_are_checked():
    for name, make in [
        ("num_samples", lambda: smooth(saliency, num_samples=0)),
        ("noise", lambda: smooth(saliency, noise=-1)),
        ("chunk", lambda: smooth(saliency, chunk=0)),
        ("k", lambda: topk(saliency, 0)),
        ("k", lambda: topk(saliency, 6)(quadratic)(CLIP)),
        ("key", lambda: smooth(saliency)(quadratic)(CLIP, 0)),
        ("target", lambda: smooth(saliency)(quadratic)(CLIP, 5, key=KEY)),
    ]:
        with pytest.raises(ValueError, match=f"`{name}`"):
            make()
    for name, make in [
        ("method", lambda: smooth(3)),
        ("f", lambda: smooth(saliency)(3)),
        ("target", lambda: topk(saliency, 2)(quadratic)(CLIP, 1)),
        ("method", lambda: topk(contrast(saliency), 2)(quadratic)(CLIP)),
        ("key", lambda: smooth(saliency)(quadratic)(CLIP, 0, key=np.zeros(2))),
    ]:
        with pytest.raises(TypeError, match=f"`{name}`"):
            make()
