import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow_metrics as slow

from jaxattr import metrics

KEY = jax.random.key(0)
T = slow.SHAPE[0]
CLIP, HEAT = slow.clip_and_heat()
FOREGROUND = HEAT > 0.5


def diagnose(f=None, **settings):
    f = slow.network() if f is None else f
    return metrics.temporal_diagnosis(f, **{"num_shuffles": 3, **settings})


def assert_close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def every_order(score):
    """Scores of the clip in all T! orders, by brute force."""
    import itertools

    orders = itertools.permutations(range(T))
    return np.array([score(CLIP[list(order)]) for order in orders])


def test_scores_of_a_loop_over_frames():
    def score(clip):
        return slow.probability(clip, 2)

    got = diagnose(substitute=0.3)(jnp.asarray(CLIP), 2, FOREGROUND, key=KEY)
    alone = np.full((T, *CLIP.shape), 0.3)
    for t in range(T):
        alone[t, t] = CLIP[t]
    shown = FOREGROUND[..., None]
    want = {
        "original": score(CLIP),
        "reversed": score(CLIP[::-1]),
        "frozen": [score(np.stack([CLIP[t]] * T)) for t in range(T)],
        "single_frame": [score(clip) for clip in alone],
        "foreground_only": score(np.where(shown, CLIP, 0.3)),
        "background_only": score(np.where(shown, 0.3, CLIP)),
    }
    for name, value in want.items():
        np.testing.assert_allclose(getattr(got, name), value, rtol=1e-10, err_msg=name)
    np.testing.assert_allclose(
        [got.order_matters, got.motion_matters],
        [want["original"] - got.shuffled, want["original"] - max(want["frozen"])],
    )


def test_shuffles_are_orders_of_the_frames_with_equal_probability():
    known = every_order(lambda clip: slow.probability(clip, 2))
    one = diagnose(num_shuffles=1)
    drawn = np.array(
        [one(jnp.asarray(CLIP), 2, key=jax.random.key(i)).shuffled for i in range(40)]
    )
    nearest = np.abs(drawn[:, None] - known).min(1)
    np.testing.assert_allclose(nearest, 0, atol=1e-12)
    assert len(np.unique(drawn.round(10))) > 12  # Of 24.

    many = diagnose(num_shuffles=400)(jnp.asarray(CLIP), 2, key=KEY)
    error = known.std() / np.sqrt(400)
    np.testing.assert_allclose(many.shuffled, known.mean(), atol=4 * error)
    np.testing.assert_allclose(many.shuffled_error, error, rtol=0.15)
    assert np.isnan(one(jnp.asarray(CLIP), 2, key=KEY).shuffled_error)


def logits_of(scalar):
    """A network whose first logit is known; the others are 0."""
    return lambda clip: jnp.zeros(3).at[0].set(scalar(clip))


WEIGHT = jnp.asarray(np.random.default_rng(5).normal(size=slow.SHAPE[1:]))


def frames_alone(clip):
    """Looks at one frame at a time."""
    return jnp.tanh(jnp.tensordot(clip, WEIGHT, 3)).mean()


def differences(clip):
    """Sees nothing but change."""
    return (jnp.tanh(jnp.tensordot(jnp.diff(clip, axis=0), WEIGHT, 3)) ** 2).sum()


def order_of_frames(clip):
    """Adds what comes early and subtracts what comes late."""
    sign = jnp.array([1.0, 1.0, -1.0, -1.0])
    return sign @ jnp.tanh(jnp.tensordot(clip, WEIGHT, 3))


def test_networks_whose_answer_is_known():
    clip = jnp.asarray(CLIP)
    still = diagnose(logits_of(frames_alone), score="logit")(clip, 0, key=KEY)
    np.testing.assert_allclose(still.order_matters, 0, atol=1e-14)
    np.testing.assert_allclose(still.reversed, still.original, rtol=1e-14)
    np.testing.assert_allclose(still.frozen.mean(), still.original, rtol=1e-12)
    assert still.motion_matters < 0

    change = diagnose(logits_of(differences), score="logit")(clip, 0, key=KEY)
    np.testing.assert_array_equal(change.frozen, 0)
    assert change.motion_matters == change.original > 0
    np.testing.assert_allclose(change.reversed, change.original, rtol=1e-12)

    order = diagnose(logits_of(order_of_frames), score="logit")(clip, 0, key=KEY)
    np.testing.assert_allclose(order.frozen, 0, atol=1e-14)
    np.testing.assert_allclose(order.reversed, -order.original, rtol=1e-12)


@pytest.mark.slow
def test_jit_vmap_and_chunks_change_nothing():
    metric = diagnose()
    clips = jnp.stack([jnp.asarray(slow.clip_and_heat(i)[0]) for i in (1, 2)])
    masks = jnp.stack([jnp.asarray(slow.clip_and_heat(i)[1] > 0) for i in (1, 2)])
    targets, keys = jnp.array([0, 4]), jax.random.split(KEY, 2)
    loop = [metric(clips[i], int(targets[i]), masks[i], key=keys[i]) for i in (0, 1)]
    jitted = jax.jit(lambda m, c, t, g, k: m(c, t, foreground=g, key=k))
    assert_close(jitted(metric, clips[0], 0, masks[0], keys[0]), loop[0])
    batch = jax.vmap(lambda c, t, g, k: metric(c, t, g, key=k))
    batch = batch(clips, targets, masks, keys)
    for i in (0, 1):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], batch), loop[i])
    for chunk in (4, 100):
        got = diagnose(chunk=chunk)(clips[0], 0, masks[0], key=keys[0])
        assert_close(got, loop[0])


def test_without_a_foreground_there_are_no_scores_of_it():
    metric = diagnose()
    got = metric(jnp.asarray(CLIP), 1, key=KEY)
    assert got.foreground_only is None
    assert got.background_only is None
    masked = metric(jnp.asarray(CLIP), 1, FOREGROUND, key=KEY)
    assert_close(got.shuffled, masked.shuffled)
    everything = metric(jnp.asarray(CLIP), 1, np.ones(slow.MAP, bool), key=KEY)
    assert_close(everything.foreground_only, everything.original)


def test_a_bfloat16_network_is_measured_in_float32():
    first, second = (jnp.asarray(w, jnp.bfloat16) for w in slow.weights())
    f = jax.tree_util.Partial(
        lambda a, b, x: b @ jnp.tanh(a @ x.ravel()), first, second
    )
    got = diagnose(f)(jnp.asarray(CLIP, jnp.bfloat16), 1, FOREGROUND, key=KEY)
    assert all(leaf.dtype == jnp.float32 for leaf in got)
    assert np.isfinite(got.shuffled)


def test_mistakes_are_named():
    clip = jnp.asarray(CLIP)
    with pytest.raises(ValueError, match="`num_shuffles`"):
        diagnose(num_shuffles=0)
    with pytest.raises(ValueError, match="`chunk`"):
        diagnose(chunk=0)
    with pytest.raises(ValueError, match="`substitute`"):
        diagnose(substitute="grey")
    metric = diagnose()
    with pytest.raises(ValueError, match="`key`"):
        metric(clip, 0)
    with pytest.raises(ValueError, match=r"`foreground`.*\(4, 6, 10\)"):
        metric(clip, 0, FOREGROUND[1:], key=KEY)
    for wrong in (HEAT, [[True]]):
        with pytest.raises(TypeError, match="`foreground`"):
            metric(clip, 0, wrong, key=KEY)
    with pytest.raises(ValueError, match=r"`target`.*0\.\.4"):
        metric(clip, 5, key=KEY)
    traced = jax.jit(lambda m, t: m(clip, t, key=KEY))(metric, 5)
    assert np.isnan(traced.original)
    assert np.isnan(traced.frozen).all()
