"""Certificates of networks written by hand, of which it is known what they read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxattr.data import evidence

DEV = evidence.split_key("dev")
_COLOURS = [
    [(0.05, 0.88, 0.95), (1.00, 0.50, 0.02)],
    [(0.42, 0.08, 0.85), (0.62, 1.00, 0.10)],
]


def _present(clip, colour):
    """1 if some fifty voxels have the colour, else 0."""
    pixels = clip * evidence.STD + evidence.MEAN
    near = jnp.abs(pixels - jnp.asarray(colour, clip.dtype)[None, None, None]) < 0.1
    return (near.all(-1).sum() > 50).astype(clip.dtype)


def _reader(family, combine, none):
    """Logits -9 but for the family's two classes and NONE."""

    def f(clip):
        logits = jnp.full(len(evidence.LABELS), -9, clip.dtype)
        for own, pair in zip(evidence.labels(family), _COLOURS):
            found = [_present(clip, colour) for colour in pair]
            logits = logits.at[own].set(combine(*found))
        return logits.at[evidence.NONE].set(none)

    return f


@pytest.fixture(scope="module")
def found_and():
    judge = evidence.certify(_reader("and", jnp.add, 1.5), "and", num_windows=16)
    return judge, evidence.certified_samples(judge, DEV, 12, start=5)


def test_and_needs_either_part_and_nothing_else(found_and):
    _, found = found_and
    certificates = found.certificates
    names = evidence.FAMILIES["and"].parts
    np.testing.assert_array_equal(found.indices, np.arange(5, 17))
    assert found.rejected == 0
    for name, fall in zip(names, np.asarray(certificates.parts).T):
        np.testing.assert_array_equal(fall, float(name in ("first", "second")))
    np.testing.assert_array_equal(certificates.score, 2)
    np.testing.assert_array_equal(certificates.alone, 0)
    np.testing.assert_array_equal(certificates.absent, 2)
    # No part is there for one frame only: no single frame matters.
    np.testing.assert_array_equal(certificates.windows, np.zeros((12, 16)))


@pytest.mark.slow
def test_samples_are_those_of_the_data_set(found_and):
    judge, found = found_and
    keys = jax.vmap(jax.random.fold_in, (None, 0))(DEV, jnp.arange(5, 8))
    beside = jax.vmap(judge)(keys)
    for i, key in enumerate(keys):
        alone = judge(key)
        assert alone.target == evidence.render(key, "and").target
        for name in evidence.Certificate._fields:
            expected = getattr(found.certificates, name)[i]
            for got in (getattr(alone, name), getattr(beside, name)[i]):
                np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.slow
def test_or_loses_nothing_with_one_of_two():
    judge = evidence.certify(_reader("or", jnp.maximum, 0.5), "or", num_windows=1)
    found = evidence.certified_samples(judge, DEV, 24)
    assert found.rejected == 0
    parts = np.asarray(found.certificates.parts)
    np.testing.assert_array_equal(parts[:, :3], 0)
    single = []
    for i in range(24):
        one = evidence.render(jax.random.fold_in(DEV, i), "or")
        single.append(np.asarray(one.parts[3:]).any((1, 2, 3)))
    single = np.array(single)
    both = single.all(1)
    assert 0 < both.sum() < 24
    np.testing.assert_array_equal(parts[both, 3:], 0)
    np.testing.assert_array_equal(parts[~both, 3:], single[~both])
    np.testing.assert_array_equal(found.certificates.absent, 1)
    np.testing.assert_array_equal(found.certificates.windows[:, 0], 1)


@pytest.mark.slow
def test_who_does_not_look_or_looks_elsewhere_is_not_certified():
    read = _reader("or", jnp.maximum, 0.5)
    own = evidence.labels("or")

    def blind(clip):
        logits = jnp.zeros(len(evidence.LABELS), clip.dtype) + 0 * clip.sum()
        return logits.at[own[0]].set(1)

    def needs_texture(clip):
        # The top left corner's spread over the clip: of noise alone, 0.12.
        return jnp.where(clip[:, :4, :4].std() > 0.14, read(clip), blind(clip)[::-1])

    found = evidence.certified_samples(evidence.certify(blind, "or"), DEV, 8)
    assert found.rejected == 1
    assert len(found.indices) == 0
    judged = found.certificates
    np.testing.assert_array_equal(judged.right, judged.target == own[0])
    np.testing.assert_array_equal(judged.keeps, judged.right)
    np.testing.assert_array_equal(judged.flips, ~judged.right)
    judged = evidence.certified_samples(
        evidence.certify(needs_texture, "or"), DEV, 8
    ).certificates
    assert np.asarray(judged.right).any()
    assert not np.asarray(judged.keeps).any()
    assert not np.asarray(judged.certified).any()


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_who_says_nothing_is_not_certified(value):
    """The largest of NaN or of equal logits is the first: by luck that is right."""
    count = len(evidence.LABELS)

    def silent(clip):
        return jnp.full(count, value, clip.dtype).at[0].set(value)

    judge = evidence.certify(silent, "motion", num_windows=1)
    samples = evidence.certified_samples(judge, jax.random.key(0), 8)
    assert len(samples.indices) == 0
    if np.isnan(value):
        assert not samples.certificates.right.any()


@pytest.mark.slow
def test_windows_of_motion_are_where_the_target_is():
    def warm(clip):
        pixels = clip * evidence.STD + evidence.MEAN
        red = (pixels[..., 0] > 0.75) & (pixels[..., 2] < 0.35)
        return jnp.full(8, red.sum().astype(clip.dtype) / 100)

    judge = evidence.certify(warm, num_windows=4)
    key = jax.random.fold_in(DEV, 2)
    got = judge(key)
    window = np.asarray(evidence.render(key).window).reshape(4, 4)
    np.testing.assert_array_equal(np.asarray(got.windows) > 0, window.any(1))
    np.testing.assert_allclose(got.windows.sum(), got.absent, rtol=1e-5)
    np.testing.assert_allclose(got.parts[-1], got.absent, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(family="ordr"), "did you mean 'order'"),
        (dict(score="logits"), "`score`"),
        (dict(score=lambda z, i: z[i]), "`score`"),
        (dict(num_windows=0), "`num_windows`"),
        (dict(num_windows=17), "`num_windows`"),
        (dict(camera=2.0), "`camera`"),
        (dict(size=3), "`size`"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        evidence.certify(lambda clip: clip.mean((0, 1, 2)), **settings)


def test_too_few_classes_and_no_samples_are_refused():
    judge = evidence.certify(
        lambda clip: jnp.zeros(8, clip.dtype) * clip.sum(), "order"
    )
    with pytest.raises(ValueError, match=r"8 classes.*'order'.*13"):
        judge(DEV)
    with pytest.raises(ValueError, match="`num`"):
        evidence.certified_samples(judge, DEV, 0)
    with pytest.raises(TypeError, match="`f`"):
        evidence.certify(3)
