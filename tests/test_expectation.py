import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr._comoments import comoments
from jaxattr._expectation import mean, moments

CHUNKS = [None, 1, 2, 3, 7, 100]


def samples(num=7):
    return np.random.default_rng(0).normal(size=(num, 3, 4)) + 1e4


@pytest.mark.parametrize("chunk", CHUNKS)
def test_moments_match_numpy(chunk):
    table = samples()
    # An index beyond the last sample must never be used: it would be NaN.
    padded = jnp.asarray(np.concatenate([table, np.full((100, 3, 4), np.nan)]))
    got = moments(lambda i: {"a": padded[i]}, 7, chunk=chunk)
    np.testing.assert_allclose(got.mean["a"], table.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.variance["a"], table.var(0, ddof=1), rtol=1e-9)
    error = table.std(0, ddof=1) / np.sqrt(7)
    np.testing.assert_allclose(got.standard_error["a"], error, rtol=1e-9)
    average = mean(lambda i: padded[i], 7, chunk=chunk)
    np.testing.assert_allclose(average, table.mean(0), rtol=1e-12)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("every", [None, 2, 3, 100])
def test_comoments_match_numpy(chunk, every):
    table = samples()
    y, x = table[:, 0, 0], table[:, 1:]
    pads = np.full((100, 3, 4), np.nan)
    padded = jnp.asarray(np.concatenate([table, pads]))
    asked = {} if every is None else {"enough": lambda _: False, "every": every}

    def draw(i):
        return padded[i][0, 0], padded[i][1:]

    got = comoments(draw, 7, chunk=chunk, **asked)
    assert got.count == 7
    for a, b in zip(got.mean, (y, x)):
        np.testing.assert_allclose(a, b.mean(0), rtol=1e-12)
    for a, b in zip(got.variance, (y, x)):
        np.testing.assert_allclose(a, b.var(0, ddof=1), rtol=1e-8)
    want = [np.cov(y, column)[0, 1] for column in x.reshape(7, -1).T]
    np.testing.assert_allclose(got.covariance.ravel(), want, atol=1e-8)


@pytest.mark.parametrize(("least", "count"), [(0, 3), (4, 6), (7, 9), (100, 11)])
def test_comoments_stop_when_there_are_enough(least, count):
    table = jnp.asarray(samples(11))
    got = comoments(
        lambda i: (table[i, 0, 0], table[i]),
        11,
        enough=lambda found: found.count >= least,
        every=3,
    )
    # 11 samples in four spans of three; the last one has two.
    assert got.count == count
    want = np.asarray(table[: got.count]).mean(0)
    np.testing.assert_allclose(got.mean[1], want, rtol=1e-12)


def test_half_precision_samples_are_summed_in_float32():
    got = mean(lambda i: jnp.full(2, 1.0, jnp.bfloat16), 1000)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, 1.0)  # A bfloat16 sum would stop at 256.


def test_one_sample_has_no_spread():
    got = moments(lambda i: jnp.ones(2), 1)
    assert np.isnan(got.variance).all()
    assert np.isnan(got.standard_error).all()


def test_memory_does_not_grow_with_the_samples():
    def temporary(num):
        def run(key):
            def draw(i):
                return jax.random.normal(jax.random.fold_in(key, i), (64, 64))

            return moments(draw, num, chunk=4)

        compiled = jax.jit(run).lower(jax.random.key(0)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(4000) <= 1.01 * temporary(40)


@pytest.mark.parametrize("chunk", [0, -1, 1.5])
def test_a_bad_chunk_is_named(chunk):
    with pytest.raises(ValueError, match="`chunk`"):
        mean(lambda i: jnp.ones(2), 3, chunk=chunk)
