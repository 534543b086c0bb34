import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics


def ladder(scores):
    """A network that gives one score for every number of frames left."""
    scores = jnp.asarray(scores[::-1])
    return lambda x: jnp.stack([scores[jnp.sum(x[:, 0, 0, 0] != 0)], x.sum()])


def test_the_sum_is_divided_by_one_more_than_the_steps():
    clip, heat = jnp.ones((3, 4, 5, 2)), jnp.ones((3, 4, 5))
    f = ladder([1.0, 0.7, 0.4, 0.1])
    settings = {"num_steps": 3, "unit": "frame", "score": "logit"}
    got = metrics.aopc(f, **settings)(clip, 0, heat)
    np.testing.assert_allclose(got.aopc, 0.45, rtol=1e-12)
    np.testing.assert_allclose(got.curve, [1.0, 0.7, 0.4, 0.1], rtol=1e-12)
    np.testing.assert_allclose(got.fraction, [0, 1 / 3, 2 / 3, 1], rtol=1e-12)
    assert got._fields[0] == "aopc"
    # By hand: the same states in both orders.
    assert metrics.abpc(f, **settings)(clip, 0, heat).abpc == 0


@pytest.mark.parametrize(
    "substitute", [pytest.param(0.0, marks=pytest.mark.slow), "noise"]
)
def test_both_areas_match_a_slow_rewrite(substitute):
    clip, heat = slow.clip_and_heat()
    if substitute == "noise":
        substitute = np.random.default_rng(4).uniform(-2, 2, slow.SHAPE)
    settings = {"num_steps": 5, "block": (2, 2, 5), "substitute": substitute}
    base = np.broadcast_to(substitute, slow.SHAPE)
    labels = slow.block_labels((2, 2, 5))
    curves = {}
    for order in ("most_first", "least_first"):
        units = slow.ordered_units(heat, labels, order)
        shown = slow.states(clip, base, labels, units, range(6))
        curves[order] = np.array([slow.probability(state, 1) for state in shown])
        got = metrics.aopc(slow.network(), order=order, **settings)(clip, 1, heat)
        np.testing.assert_allclose(got.curve, curves[order], rtol=1e-12)
        lost = sum(curves[order][0] - score for score in curves[order])
        np.testing.assert_allclose(got.aopc, lost / 6, rtol=1e-10)
    got = metrics.abpc(slow.network(), **settings)(clip, 1, heat)
    np.testing.assert_allclose(got.most_first, curves["most_first"], rtol=1e-12)
    np.testing.assert_allclose(got.least_first, curves["least_first"], rtol=1e-12)
    want = (curves["least_first"] - curves["most_first"]).mean()
    np.testing.assert_allclose(got.abpc, want, rtol=1e-10)


def test_bad_counts_are_named():
    clip, heat = slow.clip_and_heat()
    for transform in (metrics.aopc, metrics.abpc):
        with pytest.raises(ValueError, match="`num_steps`"):
            transform(slow.network(), num_steps=0)
        with pytest.raises(ValueError, match=r"`num_steps`.*4.*got 5"):
            transform(slow.network(), num_steps=5, unit="frame")(clip, 0, heat)
