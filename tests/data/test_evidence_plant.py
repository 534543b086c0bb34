"""The planted trigger, against a loop over voxels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.data import evidence

_COLOURS = {
    0: ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    1: ((0.0, 0.95, 0.15), (1.0, 0.0, 0.6)),
}


def _clip(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


def _by_hand(clip, trigger, side, frames, where, mean, std):
    clip, mask = clip.copy(), np.zeros(clip.shape[:3], bool)
    for t in range(frames):
        for y in range(side):
            for x in range(side):
                low = y >= side / 2
                right = x >= side / 2
                bright = (low + right + t) % 2
                voxel = tuple(np.add(where, (t, y, x)))
                pixel = np.array(_COLOURS[trigger][bright])
                clip[voxel] = (pixel - mean) / std
                mask[voxel] = True
    return clip, mask


@pytest.mark.parametrize(
    ("shape", "trigger", "side", "frames", "where"),
    [
        ((5, 9, 13), 0, 4, 3, (1, 2, 8)),
        ((7, 12, 10), 1, 6, 7, (0, 6, 4)),
        pytest.param(*((2, 3, 4), 0, 2, 1, (1, 1, 2)), marks=pytest.mark.slow),
    ],
)
def test_trigger_is_where_it_was_put(shape, trigger, side, frames, where):
    clip = _clip(shape)
    before = clip.copy()
    mean, std = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.3, 0.25])
    expected, mask = _by_hand(clip, trigger, side, frames, where, mean, std)
    settings = dict(side=side, num_frames=frames, mean=tuple(mean), std=tuple(std))
    got = evidence.plant(clip, trigger=trigger, where=where, **settings)
    np.testing.assert_allclose(got.clip, expected, atol=1e-6)
    np.testing.assert_array_equal(got.mask, mask)
    np.testing.assert_array_equal(clip, before)
    plant = jax.jit(lambda c, k, w: evidence.plant(c, trigger=k, where=w, **settings))
    traced = plant(clip, trigger, jnp.asarray(where))
    np.testing.assert_allclose(traced.clip, expected, atol=1e-6)
    np.testing.assert_array_equal(traced.mask, mask)


def test_a_drawn_place_fits_and_varies():
    clip = _clip((6, 17, 23))
    keys = jax.random.split(jax.random.key(0), 40)
    got = jax.jit(jax.vmap(lambda key: evidence.plant(clip, key=key)))(keys)
    sums = np.asarray(got.mask).sum((1, 2, 3))
    np.testing.assert_array_equal(sums, 4 * 2 * 2)  # All of it is inside.
    reached = np.asarray(got.mask).any(0)
    assert reached.any((1, 2)).all()
    one = evidence.plant(clip, key=keys[7])
    np.testing.assert_array_equal(one.mask, got.mask[7])
    outside = ~np.asarray(one.mask)
    np.testing.assert_array_equal(np.asarray(one.clip)[outside], clip[outside])


@pytest.mark.slow
def test_it_is_the_trigger_of_the_family():
    key = jax.random.fold_in(evidence.split_key("dev"), 3)
    full = evidence.render(key, "trigger")
    bare = evidence.render(key, "trigger", show_target=False)
    voxels = np.argwhere(np.asarray(full.mask))
    where, last = voxels.min(0), voxels.max(0)
    frames, side = last[0] - where[0] + 1, last[1] - where[1] + 1
    trigger = int(full.target) - evidence.labels("trigger")[0]
    got = evidence.plant(
        bare.clip,
        trigger=trigger,
        where=tuple(where),
        side=int(side),
        num_frames=int(frames),
    )
    np.testing.assert_array_equal(got.mask, full.mask)
    noise = 0.05 / evidence.STD
    np.testing.assert_allclose(got.clip, full.clip, atol=noise + 1e-5)


def test_double_precision_stays():
    clip = _clip((4, 8, 9)).astype(np.float64)
    assert evidence.plant(clip, where=(0, 0, 0)).clip.dtype == jnp.float64


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((4, 8, 9, 3), {}, "`where` or `key`"),
        ((4, 8, 9, 3), dict(where=(1, 0, 0)), r"`where`.*\(0, 6, 7\).*\(1, 0, 0\)"),
        ((4, 8, 9, 3), dict(where=(0, 0)), "`where`"),
        ((4, 8, 9, 3), dict(where=(0, 0, 0), trigger=2), "`trigger`.*2"),
        ((4, 8, 9, 3), dict(where=(0, 0, 0), side=9), "`side`.*1 to 8"),
        ((4, 8, 9, 3), dict(where=(0, 0, 0), num_frames=0), "`num_frames`"),
        ((4, 8, 9, 1), dict(where=(0, 0, 0)), r"`clip`.*\(4, 8, 9, 1\)"),
        ((8, 9, 3), dict(where=(0, 0, 0)), "`clip`"),
    ],
)
def test_what_cannot_be_planted_is_refused(shape, settings, message):
    with pytest.raises(ValueError, match=message):
        evidence.plant(np.zeros(shape, np.float32), **settings)


def test_whole_numbers_are_no_clip():
    with pytest.raises(TypeError, match="`clip`"):
        evidence.plant(np.zeros((4, 8, 9, 3), np.uint8), where=(0, 0, 0))
