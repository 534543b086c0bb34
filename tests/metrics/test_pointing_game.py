"""The pointing game, against a walk over the frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.metrics import hit, pointing_game

SHAPE = (5, 20, 31)  # T, H, W
BOXES = np.array(
    [(2, 20, 4, 25), (np.nan,) * 4, (15, 0, 19, 3), (-1,) * 4, (8, 8, 8, 8)]
)


def point(at, shape=SHAPE):
    heat = np.zeros(shape)
    heat[at] = 1
    return heat


def walk(heat, boxes, tolerance, legacy=False):
    """Hits and misses as the study's loop counts them."""
    hits = misses = 0
    for frame, box in zip(heat, boxes):
        row, column = np.unravel_index(frame.argmax(), frame.shape)
        if np.isnan(box[0]) or (box == -1).all():
            if not legacy:
                continue
            box = (0, 0, 0, 0)
        y0, x0, y1, x1 = box
        if legacy:
            row, column = column, row
        inside = (
            max(y0 - tolerance, 0) <= row <= y1 + tolerance
            and max(x0 - tolerance, 0) <= column <= x1 + tolerance
        )
        hits, misses = hits + inside, misses + (not inside)
    return hits, misses


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("tolerance", [0, 3, 7, 2.5])
def test_is_the_walk_over_frames(tolerance, legacy):
    rng = np.random.default_rng(0)
    total = 0
    for _ in range(20):
        heat = rng.normal(size=SHAPE)
        got = pointing_game(heat, BOXES, tolerance=tolerance, legacy=legacy)
        hits, misses = walk(heat, BOXES, tolerance, legacy)
        assert (got.hits & got.annotated).sum() == hits
        assert got.annotated.sum() == hits + misses == (5 if legacy else 3)
        assert float(got.accuracy) == pytest.approx(hits / (hits + misses))
        total += hits
    assert total > 0


def test_a_hit_ends_at_the_tolerance():
    box = np.full((1, 4), [5.0, 10, 6, 12])
    for at, expected in [
        ((5, 10), 1),
        ((0, 10), 1),  # 5 above.
        ((11, 10), 1),  # 5 below.
        ((12, 10), 0),
        ((5, 17), 1),  # 5 to the right.
        ((5, 18), 0),
        ((11, 17), 1),  # Both: a rectangle, not a disc.
        ((5, 4), 0),
    ]:
        heat = point((0, *at), (1, 20, 31))
        assert float(pointing_game(heat, box, tolerance=5).accuracy) == expected


def test_legacy_swaps_row_and_column_and_counts_frames_without_a_box():
    boxes = np.array([(2.0, 10, 3, 12), (np.nan,) * 4])
    shape = (2, 20, 31)
    heat = point((0, 2, 11), shape) + point((1, 9, 9), shape)
    ours = pointing_game(heat, boxes, tolerance=1)
    assert (float(ours.accuracy), ours.annotated.tolist()) == (1, [True, False])
    theirs = pointing_game(heat, boxes, tolerance=1, legacy=True)
    assert (float(theirs.accuracy), theirs.annotated.tolist()) == (0, [True, True])
    swapped = point((0, 11, 2), shape) + point((1, 1, 1), shape)
    assert pointing_game(swapped, boxes, tolerance=1, legacy=True).accuracy == 1


def test_legacy_is_a_bool():
    with pytest.raises(TypeError, match="`legacy` must be True or False, got 'both'"):
        pointing_game(np.ones(SHAPE), BOXES, legacy="both")


def test_chance_is_what_random_pixels_get():
    # Over every pixel that can be the largest: an exact mean, by enumeration.
    for legacy in (False, True):
        games = [
            walk(np.broadcast_to(point(at, SHAPE[1:]), SHAPE), BOXES, 2, legacy)
            for at in np.ndindex(SHAPE[1:])
        ]
        hits, misses = np.sum(games, 0)
        got = pointing_game(np.ones(SHAPE), BOXES, tolerance=2, legacy=legacy)
        assert float(got.chance) == pytest.approx(hits / (hits + misses))


def test_a_constant_map_points_at_the_corner():
    at_corner = np.tile([0.0, 0, 1, 1], (5, 1))
    for heat in (np.zeros(SHAPE), np.full(SHAPE, -3.0)):
        assert pointing_game(heat, at_corner, tolerance=0).accuracy == 1
        assert pointing_game(heat, at_corner + 1, tolerance=0).accuracy == 0


def test_no_box_at_all_is_nan_and_counts_nothing():
    got = pointing_game(np.ones(SHAPE), np.full((5, 4), -1))
    assert np.isnan(got.accuracy)
    assert not got.annotated.any()


def test_jit_and_vmap_equal_the_loop():
    heats = np.random.default_rng(0).normal(size=(4, *SHAPE))
    loop = np.array([pointing_game(heat, BOXES).accuracy for heat in heats])
    assert 0 < loop.mean() < 1
    got = jax.vmap(pointing_game, (0, None))(heats, BOXES)
    np.testing.assert_allclose(got.accuracy, loop)


def test_bad_input_of_the_game_is_named():
    heat = np.ones(SHAPE)
    for box in [
        (4.0, 2, 3, 5),
        (20.0, 2, 25, 5),
        (2, 3, np.nan, 5),
        (-9.0, 0, -2, 5),
        (2, 3, np.inf, 5),
        (-np.inf, 3, 4, 5),
    ]:
        boxes = np.array(BOXES)
        boxes[2] = box
        with pytest.raises(ValueError, match="in frame 2"):
            pointing_game(heat, boxes)
        assert np.isnan(jax.jit(pointing_game)(heat, boxes).accuracy)
    with pytest.raises(ValueError, match=r"`boxes` must be \[5, 4\]"):
        pointing_game(heat, BOXES[:4])
    with pytest.raises(ValueError, match="`tolerance`"):
        pointing_game(heat, BOXES, tolerance=-1)
    with pytest.raises(ValueError, match="`heatmap` must be finite"):
        pointing_game(heat * np.nan, BOXES)


@pytest.fixture
def mask():
    mask = np.zeros((5, 7, 9), bool)
    mask[1:3, 2:4, 4:7] = True
    return mask


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((1, 2, 4), 1),  # First voxel of the evidence, and the last one.
        ((2, 3, 6), 1),
        ((1, 2, 1), 1),  # 3 to the left of its corner; 4 to the left.
        ((1, 2, 0), 0),
        ((2, 6, 6), 1),  # 3 below.
        ((1, 5, 2), 1),  # 2 and 2 beside the corner: 2.83 pixels.
        ((1, 5, 1), 0),  # 2 and 3: 3.61 pixels, inside a square, not in a disc.
        ((1, 6, 4), 1),
        ((1, 6, 3), 0),  # 3 and 1: 3.16 pixels.
        ((0, 2, 4), 0),  # The right place, a frame too early; a frame too late.
        ((3, 2, 4), 0),
    ],
)
def test_hit_allows_three_pixels_within_the_frame(mask, at, expected):
    assert float(hit(point(at, mask.shape), mask).hit) == expected


@pytest.mark.parametrize("tolerance", [0, 1, 2.3, 3, 7.5, 5e4])
def test_hit_at_every_voxel_and_its_chance(mask, tolerance):
    t, y, x = np.nonzero(mask)
    near = np.zeros(mask.shape)
    for at in np.ndindex(mask.shape):
        here = t == at[0]
        distance = np.hypot(y[here] - at[1], x[here] - at[2])
        near[at] = distance.min(initial=np.inf) <= tolerance
    heats = jnp.asarray(np.eye(mask.size).reshape(-1, *mask.shape))
    got = jax.vmap(lambda h: hit(h, jnp.asarray(mask), tolerance=tolerance))(heats)
    np.testing.assert_array_equal(got.hit, near.ravel())
    np.testing.assert_allclose(got.chance, near.mean())


def test_hit_takes_the_first_of_equal_maxima(mask):
    first, evidence, late = (
        point(at, mask.shape) for at in ((0, 0, 0), (1, 2, 4), (4, 0, 0))
    )
    assert hit(first + evidence, mask).hit == 0
    assert hit(evidence + late, mask).hit == 1
    assert hit(np.ones(mask.shape), mask).hit == 0


def test_bad_input_of_hit_is_named(mask):
    heat = np.ones(mask.shape)
    with pytest.raises(ValueError, match="no evidence"):
        hit(heat, np.zeros(mask.shape, bool))
    with pytest.raises(ValueError, match="`tolerance`"):
        hit(heat, mask, tolerance=np.nan)
    assert np.isnan(jax.jit(hit)(heat * np.nan, mask).hit)
