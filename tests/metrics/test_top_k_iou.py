"""IoU at the evidence's own volume, against sets of Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.metrics import top_k_iou

SHAPE = (5, 7, 9)  # T, H, W


def by_sets(heat, mask):
    """Everything at least as hot as the k-th, as a set of indices."""
    evidence = set(np.flatnonzero(mask))
    threshold = sorted(heat.ravel(), reverse=True)[len(evidence) - 1]
    hot = {i for i, value in enumerate(heat.ravel()) if value >= threshold}
    return len(hot & evidence) / len(hot | evidence)


@pytest.mark.parametrize("levels", [2, 7, 10**9])  # Many ties, some, none.
@pytest.mark.parametrize("share", [0.004, 0.2, 0.9])
def test_is_that_of_sets(levels, share):
    rng = np.random.default_rng(0)
    mask = rng.random(SHAPE) < share
    heat = rng.integers(levels, size=SHAPE) / levels + 0.3 * mask - 0.5
    got = top_k_iou(heat, mask)
    assert float(got.iou) == pytest.approx(by_sets(heat, mask), rel=1e-12)
    one = jax.vmap(top_k_iou)(heat[None], mask[None]).iou[0]
    np.testing.assert_allclose(jax.jit(top_k_iou)(heat, mask).iou, got.iou)
    np.testing.assert_allclose(one, got.iou)


def test_best_worst_and_constant_map():
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:4, 4:7] = True
    assert float(top_k_iou(mask - 3.0, mask).iou) == 1
    distinct = np.where(mask, -1.0, np.arange(mask.size).reshape(SHAPE))
    assert float(top_k_iou(distinct, mask).iou) == 0
    for value in (0.0, -1.0, 5.0):
        got = top_k_iou(np.full(SHAPE, value), mask)
        assert float(got.iou) == pytest.approx(mask.mean())
    everything = top_k_iou(distinct, np.ones(SHAPE, bool))
    assert everything == (1, 1)


def test_random_maps_get_what_chance_says():
    rng = np.random.default_rng(0)
    mask = np.zeros((4, 20, 25), bool)
    mask[:, :5, :10] = True  # A tenth.
    heats = jnp.asarray(rng.random((400, *mask.shape)))
    got = jax.vmap(lambda h: top_k_iou(h, jnp.asarray(mask)))(heats)
    standard_error = got.iou.std() / 20
    assert got.chance[0] == pytest.approx(0.1 / 1.9)
    assert abs(got.iou.mean() - got.chance[0]) < 3 * standard_error
