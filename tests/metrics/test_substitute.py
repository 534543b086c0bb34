import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics


def gaussian(sigma):
    """A blur of frames by the sum over all pairs of pixels, zeros outside."""
    reach = int(np.ceil(4 * sigma))
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()

    def matrix(size):
        distance = np.arange(size)[:, None] - np.arange(size)[None]
        inside = abs(distance) <= reach
        return np.where(inside, taps[np.clip(distance + reach, 0, 2 * reach)], 0)

    def blur(clip):
        rows, columns = matrix(clip.shape[1]), matrix(clip.shape[2])
        return np.einsum("yi,xj,tijc->tyxc", rows, columns, clip)

    return blur


NUMBERS = np.random.default_rng(8).normal(size=slow.SHAPE)
SUBSTITUTES = {
    "mean": ("mean", lambda x: np.zeros_like(x)),
    "clip_mean": ("clip_mean", lambda x: np.full_like(x, x.mean((0, 1, 2)))),
    "median": ("median", lambda x: np.broadcast_to(np.median(x, 0), x.shape)),
    "blur": ("blur", lambda x: gaussian(20 * 6 / 112)(x)),
    "number": (0.5, lambda x: np.full_like(x, 0.5)),
    "channels": (NUMBERS[0, 0, 0], lambda x: np.full_like(x, NUMBERS[0, 0, 0])),
    "clip": (jnp.asarray(NUMBERS), lambda x: NUMBERS),
    "black": ("black", lambda x: np.full_like(x, [-2, -0.5, -0.8])),
}


class WithSpec:
    """A network that says what its units are."""

    spec = types.SimpleNamespace(mean=(0.4, 0.2, 0.4), std=(0.2, 0.4, 0.5))

    def __call__(self, clip):
        return slow.network()(clip)


jax.tree_util.register_static(WithSpec)


@pytest.mark.parametrize("name", SUBSTITUTES)
def test_every_substitute_is_what_it_says(name):
    substitute, expected = SUBSTITUTES[name]
    clip, heat = slow.clip_and_heat()
    metric = metrics.deletion(
        WithSpec(), num_steps=4, block=slow.BLOCK, substitute=substitute
    )
    got = metric(jnp.asarray(clip), 3, jnp.asarray(heat))
    labels = slow.block_labels(slow.BLOCK)
    units = slow.ordered_units(heat, labels, "most_first")
    shown = slow.states(clip, expected(clip), labels, units, (0, 2, 4, 6, 8))
    want = [slow.probability(state, 3) for state in shown]
    np.testing.assert_allclose(got.curve, want, rtol=1e-5 if name == "blur" else 1e-12)


def test_bad_substitutes_are_named():
    clip, heat = slow.clip_and_heat()
    f = slow.network()
    with pytest.raises(ValueError, match=r"`substitute`.*clip_mean.*'grey'"):
        metrics.insertion(f, substitute="grey")
    with pytest.raises(ValueError, match=r"`substitute`.*spec.*mean"):
        metrics.insertion(f, substitute="black")
    with pytest.raises(TypeError, match="`substitute`"):
        metrics.insertion(f, substitute=None)
    metric = metrics.insertion(f, unit="voxel", substitute=np.zeros(7))
    with pytest.raises(ValueError, match="`substitute`"):
        metric(clip, 0, heat)
