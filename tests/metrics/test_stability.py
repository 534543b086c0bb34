"""Stability over keys and settings, against SciPy on separate explanations."""

import functools
import itertools

import jax
import networks
import numpy as np
import pytest
from scipy import stats

import jaxattr
from jaxattr.metrics import stability

KEY = jax.random.key(0)


def rho(a, b):
    return stats.spearmanr(np.asarray(a).ravel(), np.asarray(b).ravel()).statistic


def test_over_keys():
    f, clip = networks.make("nnx"), networks.clip()
    method = functools.partial(jaxattr.smooth_grad, num_samples=2, noise=0.5)
    got = stability(method, f, num_keys=3)(clip, 2, key=KEY)
    maps = [method(f)(clip, 2, key=jax.random.fold_in(KEY, i)).values for i in range(3)]
    for i, j in np.ndindex(3, 3):
        assert got.correlation[i, j] == pytest.approx(rho(maps[i], maps[j]), abs=1e-9)
    pairs = [rho(a, b) for a, b in itertools.combinations(maps, 2)]
    assert float(got.mean) == pytest.approx(np.mean(pairs))
    assert float(got.minimum) == pytest.approx(min(pairs))
    assert max(pairs) < 0.999


@pytest.mark.slow
def test_more_samples_are_more_stable():
    f, clip = networks.make("nnx"), networks.clip()
    method = functools.partial(jaxattr.smooth_grad, num_samples=2, noise=0.5)
    got = stability(method, f, num_keys=3)(clip, 2, key=KEY)
    more = stability(functools.partial(method, num_samples=20), f)(clip, 2, key=KEY)
    assert got.mean < more.mean < 1
    assert more.correlation.shape == (4, 4)


def test_several_settings_need_one_key():
    f, clip = networks.make("dataclass"), networks.clip()
    measure = stability((jaxattr.saliency, jaxattr.input_x_gradient), f)
    got = jax.eval_shape(lambda c: measure(c, 2, key=KEY), clip)
    assert got.correlation.shape == (2, 2)


@pytest.mark.slow
def test_over_settings():
    f, clip = networks.make("nnx"), networks.clip()
    methods = (
        jaxattr.saliency,
        jaxattr.input_x_gradient,
        functools.partial(jaxattr.smooth_grad, num_samples=3, noise=0.3),
    )
    got = stability(methods, f)(clip, 2, key=KEY)
    key = jax.random.fold_in(KEY, 0)
    maps = [method(f)(clip, 2, key=key).values for method in methods]
    for i, j in np.ndindex(3, 3):
        assert got.correlation[i, j] == pytest.approx(rho(maps[i], maps[j]), abs=1e-9)
    both = stability(methods[::2], f, num_keys=2)(clip, 2, key=KEY)
    assert both.correlation[0, 1] == pytest.approx(1)  # A method without chance.
    assert both.correlation[0, 2] == pytest.approx(rho(maps[0], maps[2]))


def test_bad_input_is_named():
    f, clip = networks.make("nnx"), networks.clip()
    for num_keys in (0, 1):
        with pytest.raises(ValueError, match="`num_keys`"):
            stability(jaxattr.saliency, f, num_keys=num_keys)
    with pytest.raises(TypeError, match="`method`"):
        stability((jaxattr.saliency, "other"), f)
    coarse = lambda f: lambda clip, target, *, key: jaxattr.saliency(f)(clip[:2], 0)
    with pytest.raises(ValueError, match="one shape"):
        stability((jaxattr.saliency, coarse), f)(clip, 1, key=KEY)
