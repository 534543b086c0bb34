"""The families: what decides, what does not, and that the masks and switches are exact.

Everything is read off the pictures with NumPy; only one function per family compiles.
"""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.data import evidence

DEV = evidence.split_key("dev")
NAMES = list(evidence.FAMILIES)
OBJECTS = [
    (name, part)
    for name, family in evidence.FAMILIES.items()
    for part in family.parts[1:]
]


def _key(seed):
    return jax.random.fold_in(DEV, seed)


@functools.cache
def _shown(name, seed, *hidden, target=None):
    """A clip without some of its parts, as NumPy arrays, pixels in 0..1."""
    show = evidence.without(name, *hidden)
    one = evidence.render(_key(seed), name, show=show, target=target)
    one = jax.tree.map(np.asarray, one)
    return one._replace(clip=one.clip * evidence.STD + evidence.MEAN)


def _part(one, name, part):
    return one.parts[evidence.FAMILIES[name].parts.index(part)]


def _others(name):
    family = evidence.FAMILIES[name]
    return [part for part in family.parts if part not in family.evidence]


def _grown(mask):
    """The mask and its eight neighbours in each frame, not around the border."""
    wide = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    moved = [np.roll(wide, shift, (1, 2)) for shift in shifts]
    return np.any(moved, axis=0)[:, 1:-1, 1:-1]


@functools.cache
def _many(name):
    """Target, mask and presence of the parts of 128 clips."""

    @jax.jit
    def masks(key):
        def sample(index):
            one = evidence.render(jax.random.fold_in(key, index), name)
            return one.target, one.mask.mean((1, 2)), one.parts.any((2, 3))

        return jax.lax.map(sample, jnp.arange(128))

    return jax.tree.map(np.asarray, masks(evidence.split_key("train", seed=3)))


def test_the_list_of_labels_begins_with_motion_and_ends_with_none():
    assert len(NAMES) >= 6
    assert evidence.LABELS[:8] == evidence.CLASSES
    assert len(set(evidence.LABELS)) == len(evidence.LABELS)
    assert evidence.LABELS[evidence.NONE] == "none"
    used = [index for name in NAMES for index in evidence.labels(name)]
    assert used == list(range(evidence.NONE))
    for name, family in evidence.FAMILIES.items():
        own = evidence.labels(name)
        assert evidence.LABELS[own.start : own.stop] == family.labels
        assert family.parts[0] == "background"
        assert set(family.evidence) < set(family.parts)
    assert any(family.test_only for family in evidence.FAMILIES.values())


# From the renderer before there were families; key i shows class i.
_RECORDED = [
    (
        89785674,
        2928823243,
        [
            [-0.23508, -0.29995, -0.34531],
            [0.48873, -0.14687, 0.0309],
            [-0.49943, 0.2963, -1.36541],
        ],
    ),
    (
        2855634113,
        2606000845,
        [
            [0.29196, -0.08469, -0.19099],
            [-0.13488, 0.07278, -0.31022],
            [-0.32307, -0.60362, -0.29106],
        ],
    ),
    (
        2382293322,
        93325827,
        [
            [0.47937, 0.23616, 0.35944],
            [-0.40916, -0.97731, 0.55535],
            [0.88944, -0.27168, 0.61478],
        ],
    ),
]


@pytest.mark.parametrize("seed", range(3))
def test_a_motion_clip_is_what_it_always_was(seed):
    mask, distractor, pixels = _RECORDED[seed]
    one = evidence.render(jax.random.key(seed), target=seed)
    assert zlib.crc32(np.packbits(one.mask).tobytes()) == mask
    assert zlib.crc32(np.packbits(one.distractor).tobytes()) == distractor
    got = np.asarray(one.clip)[5, 12::16, 12::16, 1]
    np.testing.assert_allclose(got, np.array(pixels), atol=2e-5)


@pytest.mark.parametrize(("name", "part"), OBJECTS)
@pytest.mark.slow
def test_a_part_changes_the_picture_where_its_mask_is_and_nowhere_else(name, part):
    seen = 0
    rest = [other for other in evidence.FAMILIES[name].parts if other != part]
    for seed in range(4):
        with_it, without_it = _shown(name, seed), _shown(name, seed, part)
        change = np.abs(with_it.clip - without_it.clip).max(-1)
        mask = _part(with_it, name, part)
        # Where it would be if nothing hid it: edges let through what lies below.
        covered = _part(_shown(name, seed, *rest), name, part)
        assert not (mask & ~covered).any()
        # A sharp corner reaches two pixels beyond the last that it half covers.
        assert not change[~_grown(_grown(covered))].any()
        assert not _part(without_it, name, part).any()
        if mask.any():
            seen += 1
            assert (change[mask] > 0.02).mean() > 0.97
        for other in rest:
            # Nothing else moved; what was hidden may now be seen.
            before = _part(with_it, name, other)
            after = _part(without_it, name, other)
            assert not (before & ~after).any()
            assert not (after & ~before & ~mask).any()
    assert seen


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_unions_of_the_parts_which_do_not_overlap(name):
    family = evidence.FAMILIES[name]
    for seed in range(3):
        one = _shown(name, seed)
        assert one.parts.shape == (len(family.parts), 16, 56, 56)
        np.testing.assert_array_equal(one.parts.sum(0), 1)
        mine = [_part(one, name, part) for part in family.evidence]
        np.testing.assert_array_equal(one.mask, np.any(mine, axis=0))
        rest = [_part(one, name, part) for part in _others(name)[1:]]
        np.testing.assert_array_equal(one.distractor, np.any(rest, axis=0))
        np.testing.assert_array_equal(one.window, one.mask.any((1, 2)))
        assert one.target in evidence.labels(name)


@pytest.mark.parametrize("name", NAMES)
def test_evidence_alone_lies_on_grey(name):
    show = evidence.evidence_only(name)
    one = evidence.render(_key(0), name, show=show)
    pixels = np.asarray(one.clip) * evidence.STD + evidence.MEAN
    mask = np.asarray(one.mask)
    assert np.abs(pixels[~_grown(mask)] - evidence.MEAN).max() < 0.0501
    assert (mask >= _shown(name, 0).mask).all()
    assert not one.distractor.any()
    twice = evidence.render(
        _key(0), name, show=show[:, 0] & jnp.asarray(show.all(1)), show_distractor=True
    )
    np.testing.assert_array_equal(one.clip, twice.clip)


@pytest.mark.parametrize("name", ["motion", "trigger"])
def test_a_window_without_the_evidence_leaves_all_other_frames(name):
    parts = evidence.FAMILIES[name].evidence
    show = evidence.without(name, *parts, frames=(3, 11))
    one = evidence.render(_key(1), name, show=show)
    pixels = np.asarray(one.clip) * evidence.STD + evidence.MEAN
    full, none = _shown(name, 1), _shown(name, 1, *parts)
    expected = full.clip.copy()
    expected[3:11] = none.clip[3:11]
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    assert not np.asarray(one.window)[3:11].any()
    assert not np.asarray(one.mask)[3:11].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_classes_are_balanced_and_evidence_within_its_range(name):
    targets, share, _ = _many(name)
    own = evidence.labels(name)
    counts = np.bincount(targets, minlength=evidence.NONE)[own.start : own.stop]
    assert counts.sum() == 128
    expected = 128 / len(own)
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)
    share = share.mean(1)
    smallest, largest = {
        "motion": (0.012, 0.040),
        "appearance": (0.004, 0.26),
        "order": (0.008, 0.055),
        "and": (0.012, 0.12),
        "or": (0.006, 0.12),
        "context": (0.03, 0.31),
        "trigger": (0.0019, 0.008),
    }[name]
    assert smallest < share.min()
    assert share.max() < largest


@pytest.mark.slow
def test_evidence_spans_from_a_five_hundredth_to_a_third():
    share = np.concatenate([_many(name)[1].mean(1) for name in NAMES])
    assert 0.0019 < share.min() < 0.0025
    assert 0.27 < share.max() < 0.31


@pytest.mark.parametrize("name", ["appearance", "order", "context"])
@pytest.mark.slow
def test_the_size_of_the_evidence_does_not_tell_the_class(name):
    targets, share, _ = _many(name)
    share = share.max(1) > 0
    assert share.all()
    frames = (_many(name)[1] > 0).sum(1)
    means = [frames[targets == own].mean() for own in evidence.labels(name)]
    error = frames.std() / np.sqrt(128 / len(means))
    assert np.ptp(means) <= 4 * error


def _shape(mask, colours):
    """Names the shape of a mask from its area, its centre, extent and colours."""
    y, x = np.nonzero(mask)
    distance = np.hypot(y - y.mean(), x - x.mean())
    fill = len(y) / (np.pi * (distance.max() + 0.5) ** 2)
    if distance.min() > 1.5:
        return "ring"
    if (colours.max(1) < 0.3).any():
        return "checks"
    return "disc" if fill > 0.8 else "cross"


@pytest.mark.parametrize("own", range(4))
def test_appearance_is_the_shape_whether_or_not_it_moves(own):
    target = evidence.labels("appearance")[own]
    moved = []
    for seed in range(12):
        one = _shown("appearance", seed, *_others("appearance"), target=target)
        assert one.target == target
        frames = np.nonzero(one.window)[0]
        for frame, pixels in zip(one.mask, one.clip):
            if frame.any() and not _touches_border(frame):
                assert _shape(frame, pixels[frame]) == evidence.LABELS[target]
        first, last = one.mask[frames[0]], one.mask[frames[-1]]
        moved.append((first != last).any())
        colour = one.clip[one.mask]
        assert colour[:, 0].mean() > colour[:, 1].mean() + 0.3  # Magenta.
    assert 2 <= sum(moved) <= 10


def _touches_border(frame):
    return frame[[0, -1]].any() or frame[:, [0, -1]].any()


@pytest.mark.parametrize("seed", range(4))
def test_the_orders_are_permutations_of_the_same_frames(seed):
    own = evidence.labels("order")
    hidden = _others("order")
    ahead, behind = (_shown("order", seed, *hidden, target=t) for t in own)
    for part in ("white", "black"):
        frames = [
            sorted(frame.tobytes() for frame in _part(one, "order", part))
            for one in (ahead, behind)
        ]
        assert frames[0] == frames[1]
    # No frame shows both, and the clips' sums over time are the same.
    for one in (ahead, behind):
        shows = [_part(one, "order", p).any((1, 2)) for p in ("white", "black")]
        assert not (shows[0] & shows[1]).any()
        assert shows[0].sum() == shows[1].sum() >= 3
    times = [
        [np.nonzero(_part(one, "order", p))[0].mean() for p in ("white", "black")]
        for one in (ahead, behind)
    ]
    assert times[0][0] < times[0][1]
    assert times[1][0] > times[1][1]
    brightness = [one.clip.mean((1, 2, 3)) - evidence.MEAN for one in (ahead, behind)]
    signs = [np.sign(np.where(np.abs(b) > 0.003, b, 0)) for b in brightness]
    np.testing.assert_array_equal(np.sort(signs[0]), np.sort(signs[1]))
    white = [_part(one, "order", "white") for one in (ahead, behind)]
    assert np.median(ahead.clip[white[0]]) > 0.9
    assert np.median(behind.clip[white[1]]) > 0.9


_HUES = {  # Which channels are bright.
    "cyan": (False, True, True),
    "orange": (True, None, False),
    "purple": (None, False, True),
    "lime": (None, True, False),
}


def _hue(colours):
    mean = np.median(colours, 0)
    for name, bright in _HUES.items():
        if all(b is None or (m > 0.7) == b for m, b in zip(mean, bright)):
            return name
    return None


@pytest.mark.parametrize("name", ["and", "or"])
def test_pairs_have_the_colours_of_their_class(name):
    alone = 0
    for own in evidence.labels(name):
        colours = evidence.LABELS[own].replace(f" {name} ", " ").split()
        for seed in range(8):
            one = _shown(name, seed, "background", target=own)
            seen = []
            for part, colour in zip(("first", "second"), colours):
                mask = _part(one, name, part)
                pixels = one.clip[mask]
                pixels = pixels[pixels.min(1) < 0.6]  # Not the white core.
                if mask.any():
                    assert _hue(pixels) == colour
                    seen.append(part)
            alone += len(seen) == 1
            decoy = _part(one, name, "decoy") if name == "and" else np.zeros(1)
            if decoy.any():
                assert _hue(one.clip[decoy]) in set(_HUES) - set(colours)
    assert (alone > 0) == (name == "or")


def test_or_shows_either_or_both():
    presence = _many("or")[2].any(2)[:, -2:]
    kinds = np.bincount(presence @ [1, 2], minlength=4) / 128
    assert kinds[0] == 0
    np.testing.assert_allclose(kinds[1:], (0.2, 0.2, 0.6), atol=0.13)


@pytest.mark.parametrize("own", range(3))
def test_context_lies_along_the_border_all_the_time(own):
    target = evidence.labels("context")[own]
    order = {"sand": (0, 1, 2), "water": (2, 1, 0), "grass": (1, 0, 2)}
    corners, bands = 0, 0
    for seed in range(8):
        one = _shown("context", seed, *_others("context"), target=target)
        region = one.mask.all(0)
        np.testing.assert_array_equal(region, one.mask.any(0))
        y, x = np.nonzero(region)
        assert len(y) == (np.ptp(y) + 1) * (np.ptp(x) + 1)  # A rectangle.
        assert _touches_border(region)
        whole = np.ptp(y) == 55 or np.ptp(x) == 55
        corners, bands = corners + (not whole), bands + whole
        mean = one.clip[one.mask].mean(0)
        brightest = order[evidence.LABELS[target]]
        assert mean[brightest[0]] > mean[brightest[1]] > mean[brightest[2]]
    assert corners
    assert bands


def test_trigger_swaps_its_fields_and_the_decoy_rests_or_blinks_as_a_whole():
    rests = blinks = 0
    for seed in range(10):
        one = _shown("trigger", seed, "background", "still", "mover")
        for part in ("trigger", "decoy"):
            mask = _part(one, "trigger", part)
            both = mask[1:] & mask[:-1]
            change = np.abs(np.diff(one.clip, axis=0)).max(-1)[both]
            looks = [
                np.ptp(frame[m], axis=0).max() > 0.8
                for frame, m in zip(one.clip, mask)
                if m.any()
            ]
            if part == "trigger":
                frames = mask.any((1, 2)).sum()
                assert 3 <= frames <= 6
                assert change.min() > 0.8
                assert all(looks)
                assert mask.sum() == frames * mask.any(0).sum()  # It does not move.
                assert np.sqrt(mask.any(0).sum()) in (6, 7, 8)
            elif both.any():
                assert len(set(looks)) == 1
                rests, blinks = rests + looks[0], blinks + (not looks[0])
                assert (change.max() < 0.101) if looks[0] else (change.min() > 0.8)
    assert rests
    assert blinks


@pytest.mark.parametrize("name", NAMES)
def test_none_lacks_the_evidence_or_where_joint_a_part_of_it(name):
    family = evidence.FAMILIES[name]
    kinds = set()
    for seed in range(8):
        full = _shown(name, seed)
        lacking = _shown(name, seed, target=evidence.NONE)
        assert lacking.target == evidence.NONE
        left = [part for part in family.evidence if _part(lacking, name, part).any()]
        kinds.add(tuple(left))
        gone = [part for part in family.evidence if part not in left]
        assert gone or not full.mask.any()
        # Nothing else than to take them out.
        expected = _shown(name, seed, *gone)
        np.testing.assert_array_equal(lacking.clip, expected.clip)
        np.testing.assert_array_equal(lacking.mask, expected.mask)
    assert len(kinds) == (3 if family.joint else 1)


def test_a_share_of_the_clips_is_none():
    targets = jax.jit(
        jax.vmap(lambda key, none: evidence.render(key, "order", none=none).target),
    )
    keys = jax.vmap(jax.random.fold_in, (None, 0))(DEV, jnp.arange(200))
    got = [targets(keys, jnp.full(200, share)) for share in (0.0, 0.3, 1.0)]
    share = [np.mean(np.asarray(t) == evidence.NONE) for t in got]
    assert share[0] == 0
    assert 0.2 < share[1] < 0.4
    assert share[2] == 1
    stays = np.asarray(got[1]) != evidence.NONE
    np.testing.assert_array_equal(np.asarray(got[1])[stays], np.asarray(got[0])[stays])


@pytest.mark.slow
def test_twice_the_pixels_show_the_same_scene():
    small = _shown("appearance", 4)
    large = evidence.render(_key(4), "appearance", size=112)
    assert large.clip.shape == (16, 112, 112, 3)
    assert large.parts.shape == (4, 16, 112, 112)
    assert large.target == small.target

    def pooled(x):
        return x.reshape(16, 56, 2, 56, 2, -1).mean((2, 4))

    pixels = np.asarray(large.clip) * evidence.STD + evidence.MEAN
    # Noise of 0.05 at either size, and the edges.
    change = np.abs(pooled(pixels) - small.clip)
    assert np.median(change) < 0.04
    assert np.quantile(change, 0.99) < 0.12
    covered = pooled(np.asarray(large.mask, np.float64))[..., 0]
    assert small.mask[covered > 0.99].all()
    assert not small.mask[covered < 0.01].any()


@pytest.mark.slow
def test_a_panning_camera_moves_everything_alike_and_slowly():
    show = evidence.evidence_only("order")
    one = evidence.render(_key(2), "order", show=show, camera=1.0)
    stands = _shown("order", 2, *_others("order"))
    assert one.target == stands.target
    steps = []
    for part in ("white", "black"):
        masks = [np.asarray(_part(clip, "order", part)) for clip in (stands, one)]
        for t in np.nonzero(masks[0].any((1, 2)) & masks[1].any((1, 2)))[0]:
            places = [np.argwhere(mask[t]).mean(0) for mask in masks]
            steps.append((t - 7.5, *(places[1] - places[0])))
    steps = np.array(steps)
    assert len(steps) >= 6
    velocity = (steps[:, :1] * steps[:, 1:]).sum(0) / (steps[:, 0] ** 2).sum()
    assert 0.2 < np.hypot(*velocity) < 0.6  # Pixels per frame.
    np.testing.assert_allclose(steps[:, 1:], steps[:, :1] * velocity, atol=0.6)
    quiet = evidence.render(_key(2), "order", show=show, camera=jnp.float32(0))
    np.testing.assert_array_equal(quiet.mask, stands.mask)


@pytest.mark.slow
def test_batch_and_vmap_and_loop_give_the_same_samples():
    alone = [evidence.render(_key(seed), "trigger") for seed in range(3)]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    keys = jnp.stack([_key(seed) for seed in range(3)])
    beside = jax.vmap(lambda key: evidence.render(key, "trigger"))(keys)
    for got in (evidence.batch(DEV, 3, "trigger"), beside):
        np.testing.assert_allclose(got.clip, expected.clip, atol=2e-5)
        for field in ("target", "mask", "distractor", "window", "parts"):
            np.testing.assert_array_equal(getattr(got, field), getattr(expected, field))


def test_one_key_shows_another_scene_in_every_family():
    backgrounds = [
        _shown(name, 0, *evidence.FAMILIES[name].parts[1:]).clip for name in NAMES
    ]
    for i, one in enumerate(backgrounds):
        for other in backgrounds[:i]:
            assert np.abs(one - other).mean() > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evidence.render(DEV, "motoin"), "did you mean 'motion'"),
        (lambda: evidence.batch(DEV, 1, "ordre"), "`family`.*did you mean 'order'"),
        (lambda: evidence.labels("appearence"), "did you mean 'appearance'"),
        (lambda: evidence.evidence_only("zzz"), "`family` must be one of 'motion'"),
        (lambda: evidence.without("and", "frist"), "did you mean 'first'"),
        (lambda: evidence.without("and", "first", frames=(4, 4)), "`frames`"),
        (lambda: evidence.without("and", "first", frames=(0, 17)), "`frames`"),
        (lambda: evidence.render(DEV, "order", target=0), "`target`.*12 to 13"),
        (lambda: evidence.render(DEV, show=jnp.ones(3)), r"`show`.*\(4,\)"),
        (lambda: evidence.render(DEV, camera=1.5), "`camera`"),
        (lambda: evidence.render(DEV, none=-0.1), "`none`"),
        (lambda: evidence.render(DEV, size=20), "`size`"),
    ],
)
def test_what_cannot_be_rendered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
