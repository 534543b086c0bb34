"""Controls against closed forms and SciPy; beside that they behave like methods."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest
from scipy import ndimage

from jaxattr import control

KEY = jax.random.key(3)


def values_of(kind, clip, target=1, key=KEY):
    return control(networks.make("function"), kind=kind)(clip, target, key=key).values


def test_centre_falls_by_a_sigma_a_sixth_of_the_side_from_the_middle():
    got = np.asarray(values_of("centre", networks.clip(shape=(7, 12, 18, 3))))
    want = np.empty((7, 12, 18))
    for t, y, x in np.ndindex(want.shape):
        steps = (t - 3) / (7 / 6), (y - 5.5) / 2, (x - 8.5) / 3
        want[t, y, x] = np.exp(-sum(step**2 for step in steps) / 2)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_motion_is_the_change_since_the_frame_before():
    clip = networks.clip()
    got = values_of("motion", clip)
    for t in range(1, len(clip)):
        np.testing.assert_allclose(got[t], np.abs(clip[t] - clip[t - 1]).mean(-1))
    np.testing.assert_array_equal(got[0], got[1])
    assert not np.any(values_of("motion", clip[:1]))


def test_edges_are_the_sobel_magnitude_of_scipy():
    clip = networks.clip()
    want = np.zeros(clip.shape[:3])
    for t, c in np.ndindex(clip.shape[0], clip.shape[3]):
        frame = np.asarray(clip[t, :, :, c])
        down, across = (ndimage.sobel(frame, axis, mode="nearest") for axis in (0, 1))
        want[t] += np.hypot(down, across) / clip.shape[3]
    np.testing.assert_allclose(values_of("edges", clip), want, rtol=1e-12)


def test_random_is_normal_and_follows_its_key_alone():
    clip = networks.clip(shape=(16, 40, 48, 3))
    got = np.asarray(values_of("random", clip))
    count = got.size  # Four standard errors of mean and variance.
    assert abs(got.mean()) < 4 / np.sqrt(count)
    assert abs(got.var() - 1) < 4 * np.sqrt(2 / count)
    neighbours = np.corrcoef(got[..., 1:].ravel(), got[..., :-1].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(count)
    other = values_of("random", -2 * clip, target=4)
    np.testing.assert_array_equal(got, other)
    assert not np.allclose(got, values_of("random", clip, key=jax.random.key(4)))


@pytest.mark.parametrize(
    "kind",  # What draws and what looks at the clip stand for the other two.
    [
        *("random", "motion"),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("centre", "edges")),
    ],
)
def test_it_is_called_like_a_method(kind):
    clip = networks.clip(dtype=jnp.bfloat16)
    f = networks.make("nnx", dtype=jnp.bfloat16)
    explain = control(f, kind=kind)
    direct = explain(clip, 2, key=KEY)
    assert direct.values.dtype == jnp.float32
    assert direct.values.shape == clip.shape[:3]
    mapped = jax.jit(jax.vmap(lambda e, c, t, k: e(c, t, key=k), (None, 0, 0, 0)))(
        explain, clip[None], jnp.array([2]), KEY[None]
    )
    np.testing.assert_allclose(mapped.values[0], direct.values, rtol=1e-6)
    traced = jax.jit(lambda t: explain(clip, t, key=KEY).values)
    assert np.isnan(traced(networks.CLASSES)).all()
    with pytest.raises(ValueError, match="`target`"):
        explain(clip, networks.CLASSES, key=KEY)


def test_bad_settings_are_named():
    f = networks.make("function")
    with pytest.raises(ValueError, match=r"`kind`.*'edges'.*got 'edge'"):
        control(f, kind="edge")
    with pytest.raises(ValueError, match="`key`"):
        control(f, kind="random")(networks.clip(), 1)
    with pytest.raises(TypeError, match="`f`"):
        control(None)
