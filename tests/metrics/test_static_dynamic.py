import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxattr
from jaxattr import metrics

SHAPE = (4, 5, 6, 3)  # T, H, W, C all differ.
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
WEIGHT = RNG.normal(size=SHAPE[1:]) / 4
PLACES = np.array([0.5, -1.0, 2.0, 0.3])  # What a network makes of when frames come.

saliency = jaxattr.saliency
integrated_gradients = functools.partial(jaxattr.integrated_gradients, num_steps=8)
smooth_grad = functools.partial(jaxattr.smooth_grad, num_samples=3)
methods = pytest.mark.parametrize(
    "method", [saliency, integrated_gradients, jaxattr.input_x_gradient]
)


def split(method, scalar, clip=CLIP, **settings):
    f = jax.tree_util.Partial(
        lambda w, p, x: jnp.stack([scalar(w, p, x), x.sum()]),
        jnp.asarray(WEIGHT),
        jnp.asarray(PLACES),
    )
    return metrics.static_dynamic_split(method, f, **settings)(
        jnp.asarray(clip), 0, key=KEY
    )


def seen(weight, clip):
    """What one frame shows, [T]; curved."""
    return jnp.tanh(jnp.tensordot(clip, weight, 3))


def single_frames(weight, _, clip):
    return seen(weight, clip).mean()


def differences(weight, _, clip):
    return jnp.sin(jnp.tensordot(jnp.diff(clip, axis=0), weight, 3)).sum()


def places(weight, place, clip):
    return place @ seen(weight, clip)


def everything(weight, place, clip):
    return places(weight, place, clip) + differences(weight, place, clip) ** 2


@methods
def test_a_network_that_looks_at_single_frames_has_no_dynamic_part(method):
    got = split(method, single_frames)
    np.testing.assert_allclose(got.dynamic, 0, atol=1e-15)
    np.testing.assert_allclose(got.static, got.values, rtol=1e-10)
    assert np.abs(got.values).max() > 0.01
    assert got.dynamic_share < 1e-10


@pytest.mark.parametrize("method", [saliency, integrated_gradients, smooth_grad])
def test_a_network_that_sees_only_differences_has_no_static_part(method):
    got = split(method, differences)
    np.testing.assert_allclose(got.static, 0, atol=1e-15)
    np.testing.assert_array_equal(got.dynamic, got.values - got.static)
    assert np.abs(got.values).max() > 0.01
    assert got.dynamic_share > 1 - 1e-10


def test_order_is_the_weight_of_a_frame_less_the_mean_weight():
    got = split(saliency, places)
    slope = 1 / np.cosh((CLIP * WEIGHT).sum((1, 2, 3))) ** 2
    frame = slope[:, None, None, None] * WEIGHT
    weights = PLACES[:, None, None, None]
    np.testing.assert_allclose(got.static, weights.mean() * frame, rtol=1e-12)
    np.testing.assert_allclose(got.dynamic, (weights - weights.mean()) * frame)


def test_parts_of_a_complete_method_sum_to_scores_of_stills_and_of_the_rest():
    def score(clip):
        z = np.tanh((clip * WEIGHT).sum((1, 2, 3)))
        change = np.sin((np.diff(clip, axis=0) * WEIGHT).sum((1, 2, 3))).sum()
        return PLACES @ z + change**2

    got = split(
        functools.partial(jaxattr.integrated_gradients, num_steps=400), everything
    )
    stills = np.mean([score(np.stack([frame] * len(CLIP))) for frame in CLIP])
    # The midpoint rule leaves an error of order num_steps**-2.
    np.testing.assert_allclose(got.static.sum(), stills, atol=1e-4)
    np.testing.assert_allclose(got.dynamic.sum(), score(CLIP) - stills, atol=1e-4)


def window(f):
    """A method that gives maps [T, H, W] from scores alone, as masks do."""

    def explain(clip, target, *, key=None):
        def score(site):
            there = jnp.zeros(clip.shape[:3]).at[tuple(site)].set(1)[..., None]
            return f(clip * there)[target]

        sites = jnp.stack(jnp.meshgrid(*map(jnp.arange, clip.shape[:3]), indexing="ij"))
        scores = jax.lax.map(score, sites.reshape(3, -1).T)
        return jaxattr.saliency(f)(clip, target)._replace(
            values=scores.reshape(clip.shape[:3])
        )

    return explain


def test_a_loop_over_stills():
    got = split(window, everything)
    explain = window(
        lambda x: everything(jnp.asarray(WEIGHT), jnp.asarray(PLACES), x)[None]
    )
    explain = jax.jit(explain)
    for t in range(len(CLIP)):
        still = np.repeat(CLIP[t : t + 1], len(CLIP), 0)
        maps = np.asarray(explain(jnp.asarray(still), 0).values)
        np.testing.assert_allclose(got.static[t], sum(maps) / len(maps), rtol=1e-9)
    assert got.dynamic.shape == SHAPE[:3]
    dynamic, static = (np.abs(x).sum() for x in (got.dynamic, got.static))
    np.testing.assert_allclose(got.dynamic_share, dynamic / (dynamic + static))


def test_every_still_is_explained_with_the_key_of_the_clip():
    still = np.repeat(CLIP[:1], len(CLIP), 0)
    got = split(smooth_grad, everything, clip=still)
    for t in range(len(CLIP)):
        np.testing.assert_allclose(got.static[t], got.values.mean(0), rtol=1e-10)


@pytest.mark.slow
def test_jit_vmap_and_chunks_change_nothing():
    f = jax.tree_util.Partial(
        lambda w, x: (seen(w, x) * jnp.roll(seen(w, x), 1))[:3], jnp.asarray(WEIGHT)
    )
    divide = metrics.static_dynamic_split(smooth_grad, f)
    clips = jnp.stack([jnp.asarray(CLIP), jnp.asarray(CLIP[::-1])])
    targets, keys = jnp.array([2, 0]), jax.random.split(KEY, 2)
    loop = [divide(clips[i], int(targets[i]), key=keys[i]) for i in (0, 1)]
    jitted = jax.jit(lambda d, c, t, k: d(c, t, key=k))
    batch = jax.vmap(lambda c, t, k: divide(c, t, key=k))(clips, targets, keys)
    chunked = metrics.static_dynamic_split(smooth_grad, f, chunk=3)
    for got, want in (
        (jitted(divide, clips[0], 2, keys[0]), loop[0]),
        (chunked(clips[0], 2, key=keys[0]), loop[0]),
        *((jax.tree.map(lambda leaf, i=i: leaf[i], batch), loop[i]) for i in (0, 1)),
    ):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-14),
            got,
            want,
        )


def test_mistakes_are_named():
    f = jax.tree_util.Partial(lambda w, x: seen(w, x)[:3], jnp.asarray(WEIGHT))
    clip = jnp.asarray(CLIP)
    with pytest.raises(ValueError, match="`chunk`"):
        metrics.static_dynamic_split(saliency, f, chunk=0)
    with pytest.raises(TypeError, match="`method`"):
        metrics.static_dynamic_split("saliency", f)
    with pytest.raises(ValueError, match="`key`"):
        metrics.static_dynamic_split(smooth_grad, f)(clip, 0)
    with pytest.raises(ValueError, match="`target`"):
        metrics.static_dynamic_split(saliency, f)(clip, 3)

    def coarse(f):
        def explain(clip, target, *, key=None):
            result = jaxattr.saliency(f)(clip, target)
            return result._replace(values=result.values[::2])

        return explain

    with pytest.raises(ValueError, match=r"`method`.*4 frames"):
        metrics.static_dynamic_split(coarse, f)(clip, 0)
