import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.data import evidence

DEV = evidence.split_key("dev")
CASES = [(name, seed) for name in evidence.CLASSES for seed in range(3)]


def _pixels(clip):
    return np.asarray(clip) * evidence.STD + evidence.MEAN


def _with_and_without_target(key, **settings):
    shown = evidence.render(key, **settings)
    hidden = evidence.render(key, show_target=False, **settings)
    return shown, hidden


def _trajectory(mask):
    """Per frame in which the mask is not empty: centroid y, centroid x, area."""
    rows = []
    for frame in np.asarray(mask):
        y, x = np.nonzero(frame)
        if len(y):
            rows.append((y.mean(), x.mean(), len(y)))
    return np.array(rows)


def test_fields_have_their_shapes_and_types():
    got = evidence.render(DEV)
    assert got.clip.shape == (16, 56, 56, 3)
    assert got.clip.dtype == jnp.float32
    assert got.target.shape == ()
    assert got.target.dtype == jnp.int32
    assert got.mask.shape == got.distractor.shape == (16, 56, 56)
    assert got.window.shape == (16,)
    for field in (got.mask, got.distractor, got.window):
        assert field.dtype == jnp.bool_
    pixels = _pixels(got.clip)
    assert pixels.min() > -1e-6
    assert pixels.max() < 1 + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_mask_is_where_the_target_changes_the_picture(seed):
    shown, hidden = _with_and_without_target(jax.random.fold_in(DEV, seed))
    change = np.abs(_pixels(shown.clip) - _pixels(hidden.clip)).max(-1)
    mask = np.asarray(shown.mask)
    assert (change[mask] > 0.01).all()  # No evidence that is not in the picture.
    # What changes outside is the soft edge: it touches the mask (nine neighbours).
    grown = np.zeros_like(mask)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            grown |= np.roll(mask, (down, across), (1, 2))
    assert not (change[~grown] > 0).any()
    assert not (change[~np.asarray(shown.window)] > 0).any()
    assert not hidden.mask.any()
    assert not hidden.window.any()
    assert hidden.target == shown.target


@pytest.mark.parametrize("seed", range(4))
def test_mask_is_a_disc_in_every_frame_of_the_window(seed):
    shown = evidence.render(jax.random.fold_in(DEV, seed))
    y, x = np.mgrid[:56, :56]
    for frame, present in zip(np.asarray(shown.mask), np.asarray(shown.window)):
        assert frame.any() == present
        if not present:
            continue
        inside_y, inside_x = np.nonzero(frame)
        distance = np.hypot(y - inside_y.mean(), x - inside_x.mean())
        radius = np.sqrt(frame.sum() / np.pi)
        # The centroid of pixels is within half a pixel of the true centre.
        assert distance[frame].max() < radius + 0.6
        assert distance[~frame].min() > radius - 0.6


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_class_is_the_motion_of_the_mask(name, seed):
    target = evidence.CLASSES.index(name)
    key = jax.random.fold_in(DEV, 100 + seed)
    shown = evidence.render(key, target=target)
    assert shown.target == target
    y, x, area = _trajectory(shown.mask).T
    steps_y, steps_x, ratios = np.diff(y), np.diff(x), area[1:] / area[:-1]
    expected_y = {"up": -1, "down": 1}.get(name, 0)
    expected_x = {"left": -1, "right": 1}.get(name, 0)
    expected_growth = {"grow": 1, "shrink": -1}.get(name, 0)
    for steps, sign in ((steps_y, expected_y), (steps_x, expected_x)):
        if sign:
            assert 1.2 < sign * steps.mean() < 2.5  # Pixels per frame.
            assert (sign * steps > 0.8).all()
        else:
            assert np.abs(steps).max() < 0.5
    if expected_growth:
        rate = expected_growth * np.log(ratios).mean() / 2  # Of the radius.
        assert 0.05 < rate < 0.11
    else:
        assert np.abs(np.log(ratios)).max() < 0.1


def _colours_in_the_ball(name, seed):
    """[frames, pixels, 3] of the 7x7 pixels around the centre, while it is there."""
    key = jax.random.fold_in(DEV, 200 + seed)
    shown = evidence.render(
        key, target=evidence.CLASSES.index(name), show_distractor=False
    )
    pixels, patches = _pixels(shown.clip), []
    for frame in np.nonzero(np.asarray(shown.window))[0]:
        y, x = np.nonzero(np.asarray(shown.mask[frame]))
        top, left = round(y.mean()) - 3, round(x.mean()) - 3
        patches.append(pixels[frame, top : top + 7, left : left + 7].reshape(-1, 3))
    return np.array(patches)


@pytest.mark.parametrize("seed", range(3))
def test_only_blink_changes_brightness_and_only_spin_the_pattern(seed):
    for name in evidence.CLASSES:
        patches = _colours_in_the_ball(name, seed)
        brightness = patches[..., 0].mean(1)  # Red is bright in both stripes.
        off = brightness < 0.5
        if name == "blink":
            assert 1 <= off.sum() < len(off)
            np.testing.assert_allclose(brightness[off], 0.3 * 0.95, atol=0.06)
        else:
            assert not off.any()
        change = np.abs(np.diff(patches[..., 1], axis=0)).mean()  # Red against yellow.
        if name == "spin":
            assert change > 0.15
        elif name in ("grow", "shrink"):
            assert change < 0.15
        elif name != "blink":
            assert change < 0.13  # Noise of 0.05 and the shift within a pixel.


@pytest.mark.slow
def test_evidence_is_small_and_the_window_short():
    key = evidence.split_key("train", seed=3)
    parts = [evidence.batch(key, 64, start=start) for start in range(0, 256, 64)]
    samples = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    share = np.asarray(samples.mask).mean((1, 2, 3))
    assert share.max() <= 0.04
    assert 0.021 < share.mean() < 0.027
    frames = np.asarray(samples.window).sum(1)
    assert frames.min() == 6
    assert frames.max() == 9
    runs = np.abs(np.diff(np.asarray(samples.window).astype(int), axis=1)).sum(1)
    assert runs.max() <= 2  # One interval.
    counts = np.bincount(np.asarray(samples.target), minlength=8)
    assert counts.min() >= 16  # 32 expected, standard deviation 5.3.
    assert not (samples.mask & samples.distractor).any()


def _motion(mask):
    """Names the motion of a mask that stays inside the picture, or None."""
    mask = np.asarray(mask)
    if mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any():
        return None
    y, x, area = _trajectory(mask).T
    growth = np.diff(np.log(area)).mean()
    speeds = {
        "down": np.diff(y).mean(),
        "right": np.diff(x).mean(),
        "grow": 10 * growth,  # At least 2 * 0.06 per frame.
    }
    opposite = {"down": "up", "right": "left", "grow": "shrink"}
    for name, speed in speeds.items():
        if abs(speed) > 1:
            return name if speed > 0 else opposite[name]
    return None


def test_moving_distractor_performs_another_class():
    seen = []
    for index in range(400, 464):
        sample = evidence.render(jax.random.fold_in(DEV, index), show_target=False)
        red, _, blue = np.moveaxis(_pixels(sample.clip), -1, 0)
        name = _motion(np.asarray(sample.distractor) & (blue > red))
        assert name != evidence.CLASSES[int(sample.target)]
        seen.append(name)
    assert len(set(seen)) == 7  # All six that show in a mask, and None.


def test_distractor_mask_is_where_the_distractors_are():
    for seed in range(4):
        key = jax.random.fold_in(DEV, 300 + seed)
        clean = evidence.render(key, show_distractor=False)
        shown = evidence.render(key)
        change = np.abs(_pixels(shown.clip) - _pixels(clean.clip)).max(-1)
        distractor = np.asarray(shown.distractor)
        assert (change[distractor] > 0.01).mean() > 0.99
        # The target lies on top: what changes in its mask is seen through the edge.
        assert change[np.asarray(shown.mask)].max() < 0.5
        assert np.median(change[np.asarray(shown.mask)]) == 0
        assert distractor.any((1, 2)).all()  # B never leaves.
        assert not clean.distractor.any()
        np.testing.assert_array_equal(shown.mask, clean.mask)


@pytest.mark.slow
def test_batch_and_vmap_and_loop_give_the_same_samples():
    keys = jax.vmap(jax.random.fold_in, (None, 0))(DEV, jnp.arange(6))
    alone = [evidence.render(key) for key in keys]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    parts = evidence.batch(DEV, 3), evidence.batch(DEV, 3, start=3)
    chunked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    larger = jax.tree.map(lambda leaf: leaf[:6], evidence.batch(DEV, 64))
    for got in (larger, chunked, jax.vmap(evidence.render)(keys)):
        # Fused differently, the last bits may differ; the masks must not.
        np.testing.assert_allclose(got.clip, expected.clip, atol=2e-5)
        for field in ("target", "mask", "distractor", "window"):
            np.testing.assert_array_equal(getattr(got, field), getattr(expected, field))


def test_same_key_same_clip_with_x64_on_or_off():
    wide = evidence.render(DEV)
    again = evidence.render(DEV)
    np.testing.assert_array_equal(wide.clip, again.clip)
    with jax.enable_x64(False):
        narrow = evidence.render(evidence.split_key("dev"))
    np.testing.assert_allclose(wide.clip, narrow.clip, atol=2e-5)
    np.testing.assert_array_equal(wide.mask, narrow.mask)


def test_splits_share_no_sample():
    words = set()
    for seed in range(2):
        for split in ("train", "dev", "test"):
            key = evidence.split_key(split, seed=seed)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(4096))
            words |= {tuple(row) for row in np.asarray(jax.random.key_data(keys))}
    assert len(words) == 6 * 4096


@pytest.mark.parametrize("target", [8, -1, 0.5, np.int32(9)])
def test_what_is_no_class_is_refused(target):
    with pytest.raises(ValueError, match="`target` must be an integer from 0 to 7"):
        evidence.render(DEV, target=target)


def test_unknown_split_and_empty_batch_are_refused():
    with pytest.raises(ValueError, match=r"`split`.*'validation'"):
        evidence.split_key("validation")
    with pytest.raises(ValueError, match=r"`num`.*0"):
        evidence.batch(DEV, 0)
