"""Max-sensitivity against the analytic maximum and a loop of NumPy."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

import jaxattr
from jaxattr.metrics import max_sensitivity

KEY = jax.random.key(0)


class Values(NamedTuple):
    values: jax.Array


def square(x):
    return jnp.stack([(x**2).sum(), x.sum()])


def test_the_worked_case():
    # The gradient of x^2 at 1 moves by 2 * 0.1 at most: absolutely .2, relatively .1.
    measure = max_sensitivity(jaxattr.saliency, square, radius=0.1, num_samples=500)
    got = measure(jnp.ones((1, 1, 1, 1)), 0, key=KEY)
    assert 0.199 < got.absolute <= 0.2
    np.testing.assert_allclose(got.relative, got.absolute / 2)
    more = max_sensitivity(jaxattr.saliency, square, radius=0.1, num_samples=1000)
    assert more(jnp.ones((1, 1, 1, 1)), 0, key=KEY).absolute >= got.absolute


def test_is_the_largest_of_the_clips_that_the_method_saw():
    seen, keys = [], set()

    def note(clip, bits):
        seen.append(np.asarray(clip))
        keys.add(np.asarray(bits).tobytes())

    def method(f):
        explain = jaxattr.saliency(f)

        def wrapped(clip, target, *, key=None):
            jax.debug.callback(note, clip, jax.random.key_data(key))
            return explain(clip, target, key=key)

        return wrapped

    f, clip = networks.make("nnx"), networks.clip()
    got = max_sensitivity(method, f, radius=0.3, num_samples=5)(clip, 1, key=KEY)
    jax.block_until_ready(got)
    jax.effects_barrier()
    noisy = [c for c in seen if not np.array_equal(c, clip)]
    assert len(noisy) == 5
    assert len(keys) == 1  # The method's, the same for all clips.
    deltas = np.array(noisy) - np.asarray(clip)
    assert 0.299 < np.abs(deltas).max() <= 0.3
    assert abs(deltas.mean()) < 0.01
    assert deltas.std() == pytest.approx(0.3 / np.sqrt(3), rel=0.05)  # Uniform.
    phi = jaxattr.saliency(f)
    reference = np.asarray(phi(clip, 1).values)
    norms = [
        np.linalg.norm((np.asarray(phi(jnp.asarray(c), 1).values) - reference).ravel())
        for c in noisy
    ]
    np.testing.assert_allclose(got.absolute, max(norms), rtol=1e-9)
    np.testing.assert_allclose(
        got.relative, max(norms) / np.linalg.norm(reference.ravel()), rtol=1e-9
    )


def test_constant_and_zero_explanations():
    def constant(value):
        return lambda f: lambda clip, target, *, key: Values(jnp.full_like(clip, value))

    clip = networks.clip()
    got = max_sensitivity(constant(3.0), square, num_samples=2)(clip, 0, key=KEY)
    assert got == (0, 0)
    got = max_sensitivity(constant(0.0), square, num_samples=2)(clip, 0, key=KEY)
    assert got.absolute == 0
    assert np.isnan(got.relative)


@pytest.mark.slow
def test_one_compilation_chunk_vmap_and_jit():
    calls = []

    class Counting(networks.Dataclass):
        def __call__(self, x):
            calls.append(1)
            return super().__call__(x)

    jax.tree_util.register_dataclass(Counting, ["kernel", "head"], [])
    nets = [Counting(**vars(networks.make("dataclass", i))) for i in (0, 1)]
    clips = jnp.stack([networks.clip(i) for i in (0, 1)])

    def measure(f, chunk=None):  # A new partial every time.
        method = functools.partial(jaxattr.smooth_grad, num_samples=3, noise=0.1)
        return max_sensitivity(method, f, radius=0.1, num_samples=5, chunk=chunk)

    first = measure(nets[0])(clips[0], 2, key=KEY)
    count = len(calls)
    other = measure(nets[1])(clips[1], 3, key=jax.random.key(1))
    assert len(calls) == count  # Neither traced nor compiled again.
    assert first.absolute != other.absolute
    chunked = measure(nets[0], chunk=2)(clips[0], 2, key=KEY)
    np.testing.assert_allclose(chunked, first, rtol=1e-9)
    keys = jnp.stack([KEY, jax.random.key(1)])
    batch = jax.vmap(lambda c, t, k: measure(nets[0])(c, t, key=k))(
        clips, jnp.array([2, 3]), keys
    )
    np.testing.assert_allclose(batch.absolute[0], first.absolute, rtol=1e-9)
    assert not np.isnan(batch.absolute).any()


def test_bad_input_is_named():
    f, clip = networks.make("nnx"), networks.clip()
    for settings in (
        {"radius": 0},
        {"radius": np.nan},
        {"num_samples": 0},
        {"chunk": 0},
    ):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
            max_sensitivity(jaxattr.saliency, f, **settings)
    measure = max_sensitivity(jaxattr.saliency, f)
    with pytest.raises(ValueError, match="`key`"):
        measure(clip, 1)
    with pytest.raises(ValueError, match=r"`target` must be in 0\.\.4"):
        measure(clip, 5, key=KEY)
    with pytest.raises(ValueError, match="`clip`"):
        measure(clip[0], 1, key=KEY)
    with pytest.raises(TypeError, match="`method`"):
        max_sensitivity("saliency", f)
    with pytest.raises(TypeError, match="`f`"):
        max_sensitivity(jaxattr.saliency, "net")
