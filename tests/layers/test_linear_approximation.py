"""Linear approximation against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxattr

SHAPE = (4, 6, 8, 3)
RNG = np.random.default_rng(0)
MIX, HEAD = RNG.normal(size=(3, 5)), RNG.normal(size=(2, 3, 4, 5, 7))
CLIP = RNG.normal(size=SHAPE)


def network(clip):
    """s_c = sum head_c * a ** 3, the layer being a = pooled clip @ mix."""
    x = clip.reshape(2, 2, 3, 2, 4, 2, 3).mean((1, 3, 5)) @ jnp.asarray(MIX)
    return jnp.tensordot(checkpoint_name(x, "cells") ** 3, jnp.asarray(HEAD), 4)


def by_hand(target):
    """Activation of the layer and its gradient; gradient of the clip."""
    a = CLIP.reshape(2, 2, 3, 2, 4, 2, 3).mean((1, 3, 5)) @ MIX
    g = 3 * a**2 * HEAD[..., target]
    below = np.zeros(SHAPE)
    for voxel in np.ndindex(SHAPE[:3]):
        below[voxel] = MIX @ g[tuple(i // 2 for i in voxel)] / 8
    return a, g, below


def test_at_the_clip_and_at_a_layer():
    a, g, below = by_hand(4)
    got = jaxattr.linear_approximation(network)(jnp.asarray(CLIP), 4)
    np.testing.assert_allclose(got.values, (CLIP * below).sum(-1), rtol=1e-9)
    assert got.values.min() < 0 < got.values.max()
    got = jaxattr.linear_approximation(network, "cells", resize=False)
    values = got(jnp.asarray(CLIP), 4).values
    np.testing.assert_allclose(values, (a * g).sum(-1), rtol=1e-9, atol=1e-12)
    # A cubic score is a third of what its linear model says.
    np.testing.assert_allclose(values.sum(), 3 * network(jnp.asarray(CLIP))[4])
    shown = jaxattr.linear_approximation(network, "cells")(jnp.asarray(CLIP), 4)
    np.testing.assert_allclose(shown.cells, values, rtol=1e-12)
    assert shown.values.shape == SHAPE[:3]


def test_the_score_is_what_is_differentiated():
    clip = jnp.asarray(CLIP)
    logits = np.asarray(network(clip))
    p = np.exp(logits - logits.max())
    p /= p.sum()
    want = sum(
        p[4] * ((k == 4) - p[k]) * (CLIP * by_hand(k)[2]).sum(-1) for k in range(7)
    )
    got = jaxattr.linear_approximation(network, score="prob")(clip, 4).values
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-12)


def test_bad_layers_are_named():
    with pytest.raises(ValueError, match=r"`layer`.*'cell'.*Did you mean 'cells'"):
        jaxattr.linear_approximation(network, "cell")(jnp.asarray(CLIP), 0)
    with pytest.raises(ValueError, match=r"`layer`.*no extent"):
        jaxattr.linear_approximation(
            lambda x: checkpoint_name(x.mean((0, 1, 2)), "flat"), "flat"
        )(jnp.asarray(CLIP), 0)
