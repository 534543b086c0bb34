import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics
from jaxattr.metrics._units import Units

BOTH = {"insertion": metrics.insertion, "deletion": metrics.deletion}


def slow_curve(clip, heat, target, labels, num_steps, *, insert, order, base, **more):
    units = slow.ordered_units(heat, labels, order, **more)
    counts = [step * len(units) // num_steps for step in range(num_steps + 1)]
    shown = slow.states(clip, base, labels, units, counts, insert=insert)
    curve = np.array([slow.probability(state, target) for state in shown])
    auc = sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / num_steps
    return auc, curve, np.array(counts) / len(units)


@pytest.mark.parametrize(
    ("name", "order", "settings", "block"),
    [
        ("insertion", "most_first", {"unit": "voxel"}, (1, 1, 1)),
        ("deletion", "least_first", {"unit": "voxel"}, (1, 1, 1)),
        ("insertion", "least_first", {"block": slow.BLOCK}, slow.BLOCK),
        ("deletion", "most_first", {"block": slow.BLOCK}, slow.BLOCK),
        ("insertion", "most_first", {"block": (3, 2)}, (1, 3, 2)),
        ("deletion", "most_first", {"block": 2}, (1, 2, 2)),
        ("insertion", "most_first", {"unit": "frame"}, (1, 6, 10)),
    ],
)
def test_curve_matches_a_slow_rewrite(name, order, settings, block):
    clip, heat = slow.clip_and_heat()
    num_steps = 3 if settings.get("unit") == "frame" else 7  # Not a divisor of U.
    metric = BOTH[name](slow.network(), num_steps=num_steps, order=order, **settings)
    got = metric(jnp.asarray(clip), 2, jnp.asarray(heat))
    auc, curve, fraction = slow_curve(
        clip,
        heat,
        2,
        slow.block_labels(block),
        num_steps,
        insert=name == "insertion",
        order=order,
        base=np.zeros(slow.SHAPE),
    )
    np.testing.assert_allclose(got.curve, curve, rtol=1e-12)
    np.testing.assert_allclose(got.auc, auc, rtol=1e-12)
    np.testing.assert_allclose(got.fraction, fraction, rtol=1e-12)
    assert got._fields[0] == "auc"
    assert got.tied == 0


@pytest.mark.parametrize(
    ("order", "reduce", "slow_reduce"),
    [("most_first", "mean", np.mean), ("least_first", "sum", np.sum)],
)
def test_supervoxels_are_parts_of_segments_in_one_frame(order, reduce, slow_reduce):
    clip, heat = slow.clip_and_heat()
    segments = np.random.default_rng(3).integers(-2, 9, slow.MAP)
    segments[2:] += 1000  # Labels need not be dense, nor in every frame.
    segments[0, :3] = 5  # Sizes differ, so that mean and sum order differently.
    metric = metrics.insertion(
        slow.network(), num_steps=9, unit="supervoxel", order=order, reduce=reduce
    )
    got = metric(clip, 1, heat, segments)
    labels = slow.frame_labels(segments)
    auc, curve, fraction = slow_curve(
        clip,
        heat,
        1,
        labels,
        9,
        insert=True,
        order=order,
        base=np.zeros(slow.SHAPE),
        reduce=slow_reduce,
    )
    np.testing.assert_allclose(got.curve, curve, rtol=1e-12)
    np.testing.assert_allclose(got.auc, auc, rtol=1e-12)
    np.testing.assert_allclose(got.fraction, fraction, rtol=1e-12)
    by_name = metric(clip, 1, segments=segments, heatmap=heat)
    np.testing.assert_array_equal(by_name.curve, got.curve)


def test_the_default_block_is_a_sixteenth_of_both_sides():
    clip = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 32, 3)))
    heat = jnp.asarray(np.random.default_rng(1).normal(size=(2, 16, 32)))
    f = lambda x: jnp.tanh(x).reshape(8, -1)[:, :5].sum(0)
    default = metrics.insertion(f, num_steps=5)(clip, 0, heat)
    spelt = metrics.insertion(f, num_steps=5, block=(1, 1, 2))(clip, 0, heat)
    np.testing.assert_array_equal(default.curve, spelt.curve)
    sides = [Units("block").layout((1, side, side)).num for side in (112, 56, 6, 113)]
    assert sides == [16**2, 14**2, 6**2, 113**2]  # Of 7, 4 (not 3.5), 1 and 1 pixels.


def test_counts_out_of_numpy_are_counts():
    f, (clip, heat) = slow.network(), slow.clip_and_heat()
    settings = {"num_steps": 4, "block": 2, "chunk": 2}
    numpy = {name: np.int64(value) for name, value in settings.items()}
    got, wanted = (
        metrics.insertion(f, **given)(clip, 0, heat) for given in (numpy, settings)
    )
    np.testing.assert_array_equal(got.curve, wanted.curve)


def test_insertion_most_first_is_deletion_least_first():
    clip, heat = slow.clip_and_heat()
    f = slow.network()
    for other, order in (("least_first", "most_first"), ("most_first", "least_first")):
        settings = {"num_steps": 8, "unit": "voxel"}  # Divides 240 units.
        inserted = metrics.insertion(f, order=order, **settings)(clip, 0, heat)
        deleted = metrics.deletion(f, order=other, **settings)(clip, 0, heat)
        np.testing.assert_allclose(inserted.auc, deleted.auc, rtol=1e-12)
        np.testing.assert_allclose(inserted.curve, deleted.curve[::-1], rtol=1e-12)


def linear(contributions):
    """A network whose score is the sum of known contributions of voxels."""
    weight = jnp.asarray(contributions)[..., None]
    return lambda x: jnp.stack([(weight * x).sum(), x.sum()])


def test_a_linear_network_gives_the_closed_form():
    given = np.random.default_rng(5).normal(size=slow.MAP)
    clip = jnp.ones((*slow.MAP, 1))
    settings = {"unit": "voxel", "num_steps": given.size, "score": "logit"}
    insertion = metrics.insertion(linear(given), **settings)
    perfect = insertion(clip, 0, jnp.asarray(given)).auc
    worst = insertion(clip, 0, jnp.asarray(-given)).auc
    # Unit of rank r is shown for the last n - r - 1/2 of n steps.
    falling = np.sort(given.ravel())[::-1]
    n = given.size
    np.testing.assert_allclose(
        perfect, sum((n - r - 0.5) / n * c for r, c in enumerate(falling)), rtol=1e-12
    )
    # The mirror: the two shares of every contribution add up to one.
    np.testing.assert_allclose(perfect + worst, given.sum(), rtol=1e-12)
    orders = [np.random.default_rng(i).normal(size=slow.MAP) for i in range(20, 40)]
    others = [insertion(clip, 0, jnp.asarray(order)).auc for order in orders]
    assert worst < min(others)
    assert max(others) < perfect
    deletion = metrics.deletion(linear(given), **settings)
    np.testing.assert_allclose(
        deletion(clip, 0, jnp.asarray(given)).auc, worst, rtol=1e-12
    )


def test_equal_heat_is_taken_in_order_of_frame_row_and_column():
    clip, _ = slow.clip_and_heat()
    rising = jnp.arange(240.0).reshape(slow.MAP)
    f = slow.network()
    for order, same in (("most_first", -rising), ("least_first", rising)):
        metric = metrics.insertion(f, num_steps=10, unit="voxel", order=order)
        want = metric(clip, 0, same)
        assert want.tied == 0
        for constant in (0.0, 1.0, -2.0):
            got = metric(clip, 0, jnp.full(slow.MAP, constant))
            np.testing.assert_array_equal(got.curve, want.curve)
            assert got.tied == 1
    zeros = jnp.where(rising % 2 == 0, 0.0, -0.0)  # Equal, whatever their sign.
    np.testing.assert_array_equal(metric(clip, 0, zeros).curve, want.curve)


def test_ties_are_counted_between_neighbours_in_the_order():
    clip, _ = slow.clip_and_heat()
    heat = jnp.zeros(slow.MAP).at[0].set(jnp.arange(60.0).reshape(6, 10))
    got = metrics.insertion(slow.network(), num_steps=2, unit="voxel")(clip, 0, heat)
    np.testing.assert_allclose(got.tied, 180 / 239)  # 181 zeros, 59 others.


@pytest.mark.parametrize("num_steps", [1, 7, 16, 128, 1000])
@pytest.mark.parametrize("count", [1, 5, 240, 4096, 200_704, 12_845_056])
def test_cut_points_are_exact(count, num_steps):
    from jaxattr.metrics._states import cut_points

    want = [step * count // num_steps for step in range(num_steps + 1)]
    np.testing.assert_array_equal(cut_points(jnp.int32(count), num_steps), want)


def test_memory_does_not_grow_with_the_steps():
    def f(x):
        kernel = jnp.ones((3, 3, 3, 3, 4), x.dtype)
        x = jax.lax.conv_general_dilated(
            x[None],
            kernel,
            (1, 1, 1),
            "SAME",
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )
        return jnp.tanh(x).mean((0, 1, 2, 3))

    clip, heat = jnp.ones((4, 16, 32, 3)), jnp.ones((4, 16, 32))
    run = jax.jit(lambda metric, clip, heat: metric(clip, 0, heat))
    sizes = [
        run.lower(metrics.insertion(f, num_steps=num_steps, chunk=2), clip, heat)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for num_steps in (16, 128)
    ]
    # Curves and cut points may grow; one mask more would be 2048 bytes a step.
    assert abs(sizes[1] - sizes[0]) < 112 * 32


def test_bad_settings_and_inputs_are_named():
    f = slow.network()
    clip, heat = slow.clip_and_heat()
    for name, bad in (
        ("num_steps", 0),
        ("unit", "pixel"),
        ("order", "morf"),
        ("chunk", 0),
        ("block", (0, 1)),
        ("block", (1, 1, 1, 1)),
        ("block", 1.5),
        ("reduce", "max"),
        ("reduce", "sum"),
        ("score", "probability"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            metrics.insertion(f, **{name: bad})
    with pytest.raises(ValueError, match=r"`block`.*unit"):
        metrics.insertion(f, unit="voxel", block=(2, 2))
    with pytest.raises(ValueError, match=r"`block`.*divide.*\(4, 6, 10\)"):
        metrics.insertion(f, block=(4, 5))(clip, 0, heat)
    metric = metrics.insertion(f, unit="supervoxel", num_steps=2)
    with pytest.raises(TypeError, match="`segments`"):
        metric(clip, 0, heat)
    with pytest.raises(TypeError, match=r"`segments`.*integer"):
        metric(clip, 0, heat, heat)
    with pytest.raises(ValueError, match=r"`segments`.*shape"):
        metric(clip, 0, heat, np.zeros((6, 10), int))
