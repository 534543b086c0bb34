"""Occlusion against a loop over windows, and worked numbers."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr import occlusion

SHAPE = (5, 6, 8, 2)
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
WEIGHT = RNG.normal(size=SHAPE)
BASE = RNG.normal(size=SHAPE[3])


def curved(x):
    total = (jnp.asarray(WEIGHT, x.dtype) * x).sum()
    return jnp.stack([jnp.sin(total), total])


def slow(window, stride, reduce):
    """A loop over positions, from the definition."""
    starts = []
    for size, side, step in zip(SHAPE, window, stride):
        at = list(range(0, size - side + 1, step))
        starts.append(at + [size - side] * (at[-1] != size - side))
    total, count = np.zeros((2, *SHAPE[:3]))
    drops = []
    for place in itertools.product(*starts):
        inside = tuple(slice(a, a + n) for a, n in zip(place, window))
        hidden = CLIP.copy()
        hidden[inside] = BASE
        drop = np.sin((WEIGHT * CLIP).sum()) - np.sin((WEIGHT * hidden).sum())
        total[inside] += drop
        count[inside] += 1
        drops.append(drop)
    drops = np.reshape(drops, [len(at) for at in starts])
    return (total / count if reduce == "mean" else total), drops


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize(
    ("window", "stride", "sides", "steps"),
    [
        ((2, 3, 4), (2, 2, 3), (2, 3, 4), (2, 2, 3)),
        ((None, 2, 3), None, (5, 2, 3), (3, 1, 2)),
        ((1, None, None), None, (1, 6, 8), (1, 3, 4)),
        (None, None, (1, 1, 1), (1, 1, 1)),
    ],
)
def test_equal_to_a_loop_over_windows(reduce, window, stride, sides, steps):
    explain = occlusion(
        curved,
        window=window,
        stride=stride,
        substitute=BASE,
        reduce=reduce,
        score="logit",
    )
    got = explain(jnp.asarray(CLIP), 0)
    values, drops = slow(sides, steps, reduce)
    np.testing.assert_allclose(got.values, values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.drops, drops, rtol=1e-9, atol=1e-12)
    assert [len(at) for at in got.starts] == list(drops.shape)


def test_worked_numbers():
    clip = jnp.asarray([1.0, 2, 3, 4]).reshape(1, 1, 4, 1)
    explain = occlusion(
        lambda x: x.sum()[None], window=(1, 1, 2), stride=(1, 1, 1), score="logit"
    )
    got = explain(clip, 0)
    np.testing.assert_allclose(got.values.ravel(), [3, 4, 6, 7])
    np.testing.assert_array_equal(got.starts[2], [0, 1, 2])


def test_equal_to_captum():
    captum = pytest.importorskip("captum.attr")
    import torch

    def score(clips):
        return torch.sin((torch.tensor(WEIGHT) * clips).sum((1, 2, 3, 4)))[:, None]

    window, stride = (2, 3, 4), (1, 3, 2)  # They fit: captum cuts a window that juts.
    want = captum.Occlusion(score).attribute(
        torch.tensor(CLIP)[None],
        sliding_window_shapes=(*window, SHAPE[3]),
        strides=(*stride, SHAPE[3]),
        baselines=torch.tensor(np.broadcast_to(BASE, (1, *SHAPE)).copy()),
        target=0,
    )[0]
    explain = occlusion(
        curved, window=window, stride=stride, substitute=BASE, score="logit"
    )
    got = explain(jnp.asarray(CLIP), 0).values
    for channel in range(SHAPE[3]):
        # captum adds up in float32.
        np.testing.assert_allclose(got, want[..., channel], rtol=1e-6)


def test_default_windows_are_a_share_of_the_clip():
    clip = jnp.ones((16, 28, 42, 1))
    got = occlusion(lambda x: x.sum()[None], score="logit")(clip, 0)
    assert [int(at[1]) for at in got.starts] == [2, 2, 3]  # Half of (4, 4, 6).
    assert float(got.drops[0, 0, 0]) == 4 * 4 * 6


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"window": (2, 3)}, "window"),
        ({"window": (2, 0, 3)}, "window"),
        ({"stride": 4}, "stride"),
        ({"reduce": "max"}, "reduce"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        occlusion(curved, **settings)


def test_windows_that_do_not_fit_are_named():
    for settings, name in (
        ({"window": (6, 1, 1)}, "window"),
        ({"window": (2, 2, 2), "stride": (3, 1, 1)}, "stride"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            occlusion(curved, **settings)(jnp.asarray(CLIP), 0)
