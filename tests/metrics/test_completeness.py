import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

import jaxattr
from jaxattr import metrics


@pytest.mark.parametrize("score", ["logit", "prob"])
@pytest.mark.parametrize("baseline", [0.0, np.array([0.1, -0.2, 0.3])])
def test_the_residual_matches_numpy(score, baseline):
    clip, _ = slow.clip_and_heat()
    (values,) = slow.arrays(6, slow.SHAPE)
    metric = metrics.completeness(slow.network(), baseline=baseline, score=score)
    got = metric(clip, 2, values)
    ends = clip, np.broadcast_to(baseline, slow.SHAPE)
    if score == "prob":
        before, after = (slow.probability(x, 2) for x in ends)
    else:
        first, second = slow.weights()
        before, after = ((second @ np.tanh(first @ x.ravel()))[2] for x in ends)
    change = before - after
    np.testing.assert_allclose(got.change, change, rtol=1e-10)
    np.testing.assert_allclose(got.attributed, values.sum(), rtol=1e-12)
    want = abs(values.sum() - change) / abs(change)
    np.testing.assert_allclose(got.residual, want, rtol=1e-10)


def test_integrated_gradients_are_complete_and_saliency_is_not():
    clip, _ = slow.clip_and_heat()
    f, clip = slow.network(), jnp.asarray(clip)
    metric = metrics.completeness(f, baseline=0.0)
    path = jaxattr.integrated_gradients(f, num_steps=200)(clip, 1).values
    assert metric(clip, 1, path).residual < 1e-4
    assert metric(clip, 1, jaxattr.saliency(f)(clip, 1).values).residual > 0.1
    assert metric(clip, 1, jnp.zeros_like(clip)).residual == 1


def test_nothing_to_explain():
    clip, _ = slow.clip_and_heat()
    constant = lambda x: jnp.ones(3) + 0 * x.sum()
    metric = metrics.completeness(constant, baseline=0.0)
    assert metric(clip, 1, np.zeros(slow.SHAPE)).residual == 0
    assert metric(clip, 1, clip).residual == np.inf


def test_bad_inputs_are_named_or_give_nan():
    clip, heat = slow.clip_and_heat()
    metric = metrics.completeness(slow.network(), baseline=0.0)
    with pytest.raises(ValueError, match=r"`values`.*\(4, 6, 10\).*to_heatmap"):
        metric(clip, 0, heat)
    bad = clip * np.nan
    with pytest.raises(ValueError, match=r"`values`.*finite"):
        metric(clip, 0, bad)
    assert np.isnan(jax.jit(lambda m, v: m(clip, 0, v).residual)(metric, bad))
    assert np.isnan(jax.jit(lambda m, t: m(clip, t, clip).residual)(metric, 9))
    with pytest.raises(TypeError, match="`baseline`"):
        metrics.completeness(slow.network(), baseline="black")
    with pytest.raises(ValueError, match="`baseline`"):
        metrics.completeness(slow.network(), baseline=np.zeros(7))(clip, 0, clip)
