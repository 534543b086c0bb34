import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics


@pytest.mark.parametrize("substitute", ["mean", "clip_mean"])
def test_drop_and_increase_match_numpy(substitute):
    seen = set()
    for seed in range(6):
        clip, heat = slow.clip_and_heat(seed)
        base = 0 if substitute == "mean" else clip.mean((0, 1, 2))
        mask = ((heat - heat.min()) / (heat.max() - heat.min()))[..., None]
        before = slow.probability(clip, 2)
        after = slow.probability(mask * clip + (1 - mask) * base, 2)
        got = metrics.average_drop(slow.network(), substitute=substitute)(clip, 2, heat)
        np.testing.assert_allclose(got.score, before, rtol=1e-12)
        np.testing.assert_allclose(got.masked, after, rtol=1e-12)
        lost = max(0, before - after) / before
        np.testing.assert_allclose(got.drop, lost, rtol=1e-9, atol=1e-12)
        assert float(got.increase) == (after > before)
        seen.add(float(got.increase))
    assert seen == {0, 1}


def test_the_ends_of_the_range():
    clip, heat = slow.clip_and_heat()
    only = lambda x: jnp.stack([jnp.abs(x[:, :3]).sum(), jnp.zeros(())])
    metric = metrics.average_drop(only, score="logit")
    shown = jnp.zeros(slow.MAP).at[:, :3].set(5.0)
    assert metric(clip, 0, shown).drop == 0
    assert metric(clip, 0, -shown).drop == 1
    for constant in (0.0, 3.0):  # Scales to nothing.
        assert metric(clip, 0, jnp.full(slow.MAP, constant)).drop == 1
    # A share of what is not positive is no number, unless nothing was lost.
    below = metrics.average_drop(lambda x: -only(x) - 1, score="logit")
    got = below(clip, 0, heat)
    assert (got.drop, got.increase) == (0, 1)
    negative = metrics.average_drop(
        lambda x: jnp.stack([x[0].sum() - 1e3, x.sum()]), score="logit"
    )
    assert np.isnan(negative(jnp.ones(slow.SHAPE), 0, heat).drop)
