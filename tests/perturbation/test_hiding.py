"""What black boxes hide parts of a clip behind, against loops in NumPy."""

import itertools

import games
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import greedy_regions, kernel_shap, lime, occlusion, rise, temporal_mask

KEY = jax.random.key(0)
SHAPE = (5, 4, 6, 2)
CLIP = np.random.default_rng(0).normal(1.0, 2.0, size=SHAPE)
WEIGHT = np.random.default_rng(1).normal(size=SHAPE)


def network(x):
    return jnp.sin((jnp.asarray(WEIGHT, x.dtype) * x).sum())[None]


def frozen(shown):
    """The clip where shown, else what the pixel was before; the first frame stays."""
    got = CLIP.copy()
    for t, y, x in itertools.product(*map(range, SHAPE[:3])):
        if t and not shown[t, y, x]:
            got[t, y, x] = got[t - 1, y, x]
    return got


def test_occlusion_freezes_what_is_in_the_window():
    window, stride = (2, 3, 4), (1, 1, 2)
    explain = occlusion(
        network, window=window, stride=stride, substitute="freeze", score="logit"
    )
    drops = explain(jnp.asarray(CLIP), 0).drops
    for place in itertools.product(range(4), range(2), range(2)):
        shown = np.ones(SHAPE[:3], bool)
        at = np.multiply(place, stride)
        shown[tuple(slice(a, a + n) for a, n in zip(at, window))] = False
        want = np.sin((WEIGHT * CLIP).sum()) - np.sin((WEIGHT * frozen(shown)).sum())
        np.testing.assert_allclose(drops[place], want, rtol=1e-9, atol=1e-12)
    assert np.abs(drops).min() > 1e-3


@pytest.mark.slow
def test_rise_freezes_whole_frames():
    """Of frames kept or frozen, all 16 states of the last 4 have a score."""
    drawn = rise(
        network,
        num_masks=3000,
        grid=(5, 1, 1),
        substitute="freeze",
        center=False,
        score="logit",
        chunk=1000,
    )(jnp.asarray(CLIP), 0, key=KEY)
    states = np.array(list(itertools.product((0, 1), repeat=5)), bool)
    shown = np.broadcast_to(states[..., None, None], (32, *SHAPE[:3]))
    scores = np.sin([(WEIGHT * frozen(one)).sum() for one in shown])
    want = (scores[:, None] * states).mean(0) / 0.5
    got, error = drawn.values[:, 0, 0], drawn.standard_error[:, 0, 0]
    assert (np.abs(got - want) < 4 * error).all()
    assert np.ptp(want) > 8 * np.asarray(error).max()


@pytest.mark.parametrize(
    "method",
    [
        kernel_shap,
        pytest.param(lime, marks=pytest.mark.slow),
        pytest.param(greedy_regions, marks=pytest.mark.slow),
    ],
)
def test_segments_hide_behind_their_mean_colour_or_freeze(method):
    labels = games.labels(5, shape=SHAPE[:3])
    labels[labels == 3] = 5  # One label does not occur.
    means = np.zeros_like(CLIP)
    for n in np.unique(labels):
        means[labels == n] = CLIP[labels == n].mean(0)
    some = {lime: {"num_samples": 40}, greedy_regions: {"num_regions": 4}}

    def run(f, substitute):
        explain = method(
            f,
            num_segments=6,
            substitute=substitute,
            score="logit",
            **some.get(method, {}),
        )
        more = {} if method is greedy_regions else {"key": KEY}
        return explain(jnp.asarray(CLIP), 0, segments=labels, **more)

    got, want = run(network, "segment_mean"), run(network, means)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert np.ptp(got.values) > 0

    # Frozen by hand within the network: a clip of markers says what is shown.
    steps = range(1, SHAPE[0])

    def by_hand(x):
        shown = (x == jnp.asarray(CLIP, x.dtype)).all(-1, keepdims=True)
        frames = [jnp.asarray(CLIP[0])]
        for t in steps:
            frames.append(jnp.where(shown[t], CLIP[t], frames[-1]))
        return network(jnp.stack(frames))

    got, want = run(network, "freeze"), run(by_hand, CLIP + 9)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    assert np.ptp(got.values) > 0


def test_what_a_method_cannot_hide_behind_is_named():
    for method in (occlusion, rise):
        with pytest.raises(ValueError, match=r"`substitute`.*freeze"):
            method(network, substitute="segment_mean")
    with pytest.raises(ValueError, match=r"`substitute`.*segment_mean"):
        lime(network, substitute="melt")
    for value in (True, np.array(1j), np.array(["mean"]), CLIP > 0):
        with pytest.raises(TypeError, match=r"`substitute`.*(bool|complex|<U4)"):
            rise(network, substitute=value)
    with pytest.raises(ValueError, match=r"`perturbation`.*'freeze'"):
        temporal_mask(network, perturbation=CLIP)  # A clip is no operator.
