import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxattr.perturbation import (
    ExtremalConfig,
    channel_extremal_perturbation,
    extremal_perturbation,
)

SHAPE, CHANNELS, CLASSES = (3, 4, 6, 2), 7, 4
CLIP = np.random.default_rng(0).normal(size=SHAPE)
MIX = np.random.default_rng(1).normal(size=(2, CHANNELS))
HEAD = np.random.default_rng(2).normal(size=(CHANNELS, CLASSES))


def features(clip):
    """[T, H, W, C'], in the cells of the clip."""
    return np.maximum(clip @ MIX, 0) + 0.1


def network(clip):
    x = jnp.maximum(clip @ jnp.asarray(MIX, clip.dtype), 0) + 0.1
    x = checkpoint_name(x, "cells")
    return x.mean((0, 1, 2)) @ jnp.asarray(HEAD, clip.dtype)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def published(num_iterations, **settings):
    return ExtremalConfig(num_iterations=num_iterations, ties="expected", **settings)


def slow_masks(area, target, config, variant, score="log_prob"):
    """The published iteration in NumPy: momentum, a sort, gradients by hand."""
    pooled = features(CLIP).mean((0, 1, 2))
    weights = pooled[:, None] * HEAD  # The logits are m @ weights.
    one_hot = np.eye(CLASSES)[target]
    zeros = int(np.floor(CHANNELS * (1 - area)))
    step = np.r_[np.zeros(zeros), np.ones(CHANNELS - zeros)]
    m, buffer, history = np.ones(CHANNELS), None, []
    for t in range(config.num_iterations):
        seen, reward, slope = m.copy(), 0.0, np.zeros(CHANNELS)
        if score == "margin":  # The contrastive reward: less the best other class.
            z = m @ weights
            other = max(set(range(CLASSES)) - {target}, key=z.__getitem__)
            reward -= z[target] - z[other]
            slope -= weights[:, target] - weights[:, other]
        elif variant != "delete":
            p = softmax(m @ weights)
            reward -= np.log(p[target])
            slope -= weights @ (one_hot - p)
        if variant != "preserve":
            p = softmax((1 - m) @ weights)
            reward -= np.log(1 - p[target])
            # d/dz of -log(1 - p) is p / (1 - p) (one_hot - p), and z falls with m.
            slope -= p[target] / (1 - p[target]) * (weights @ (one_hot - p))
        # Ties: all channels that are equal share what is left for them.
        wanted = np.zeros(CHANNELS)
        for value in np.unique(m):
            wanted[m == value] = step[np.sort(m) == value].mean()
        weight = 300 * 1.0008668**t
        area_term = (wanted * (m - 1) ** 2 + (1 - wanted) * m**2).mean()
        slope += weight * 2 / CHANNELS * (wanted * (m - 1) + (1 - wanted) * m)
        buffer = slope if buffer is None else 0.9 * buffer + 0.1 * slope
        m = np.clip(m - config.learning_rate * buffer, 0, 1)
        history.append((reward, weight * area_term))
    return seen, np.array(history)


@pytest.mark.parametrize(
    ("variant", "score"),
    [
        pytest.param("preserve", "log_prob", marks=pytest.mark.slow),
        ("preserve", "margin"),
        ("dual", "log_prob"),
    ],
)
def test_published_iterations_match_a_slow_rewrite(variant, score):
    config = published(25, learning_rate=0.004)  # Seven channels: larger steps jump.
    areas, target = (0.3, 0.6), 1
    settings = {"areas": areas, "preset": config, "variant": variant, "score": score}
    if variant == "dual":
        explain = channel_extremal_perturbation(network, "cells", **settings)
    else:
        explain = extremal_perturbation(network, over="channel", at="cells", **settings)
    result = explain(CLIP, target)
    for i, area in enumerate(areas):
        mask, history = slow_masks(area, target, config, variant, score)
        assert np.ptp(mask) > 0.2  # It has left its start.
        np.testing.assert_allclose(result.channels[i], mask, rtol=0, atol=1e-10)
        np.testing.assert_allclose(result.history.reward[i], history[:, 0], rtol=1e-10)
        np.testing.assert_allclose(
            result.history.regulariser[i], history[:, 1], rtol=1e-10
        )


def test_map_and_probability_are_those_of_the_masked_layer():
    areas = (0.3, 0.6)
    explain = channel_extremal_perturbation(network, "cells", areas=areas)
    result = explain(CLIP, 2)
    masked = features(CLIP) * np.asarray(result.channels)[:, None, None, None]
    np.testing.assert_allclose(result.values, masked.sum((0, -1)), rtol=1e-12)
    np.testing.assert_array_equal(result.values, result.cells)
    for kept, x in zip(result.kept, masked):
        np.testing.assert_allclose(
            kept, softmax(x.mean((0, 1, 2)) @ HEAD)[2], rtol=1e-12
        )
    np.testing.assert_allclose(result.areas, areas)
    np.testing.assert_allclose(
        result.area_reached, np.asarray(result.channels).mean(1), rtol=1e-12
    )


def both(m):
    """Channels 2 and 5 suffice together only; 1 speaks for the other class."""
    return 6 * m[5] * m[2] + m[0], 3 * m[1]


def either(m):
    """One of the two is enough."""
    return 6 * (m[5] + m[2] - m[5] * m[2]) + m[0], 3 * m[1]


def each(m):
    """Every one speaks for itself."""
    return 3 * m[5] + 2 * m[2] + m[0], 3 * m[1]


@pytest.mark.parametrize(
    ("variant", "logits"),
    [
        ("preserve", both),
        pytest.param("delete", either, marks=pytest.mark.slow),
        pytest.param("dual", each, marks=pytest.mark.slow),
    ],
)
def test_the_pair_found_is_the_best_of_all_pairs(variant, logits):
    def f(clip):
        x = checkpoint_name(jnp.maximum(clip @ jnp.asarray(MIX), 0) + 0.1, "cells")
        shares = x.mean((0, 1, 2)) / features(CLIP).mean((0, 1, 2))
        return jnp.stack(logits(shares))

    def cost(pair):
        shown = np.isin(np.arange(CHANNELS), pair)
        keep, lose = (softmax(np.array(logits(1.0 * m)))[0] for m in (shown, ~shown))
        terms = {"preserve": -np.log(keep), "delete": -np.log(1 - lose)}
        return terms.get(variant, sum(terms.values()))

    pairs = itertools.combinations(range(CHANNELS), 2)
    assert min(pairs, key=cost) == (2, 5)
    explain = channel_extremal_perturbation(
        f, "cells", areas=(2 / CHANNELS,), variant=variant
    )
    mask = explain(CLIP, 0).channels[0]
    assert sorted(np.argsort(mask)[-2:]) == [2, 5]
    assert np.sort(mask)[-2] > 0.9
    assert np.sort(mask)[-3] < 0.1


def test_inside_a_loop_the_mask_meets_every_step():
    turn = np.random.default_rng(3).normal(size=(CHANNELS, CHANNELS))

    def recurrent(clip):
        def step(state, frame):
            x = jnp.tanh(frame @ jnp.asarray(MIX) + state @ jnp.asarray(turn))
            x = checkpoint_name(x, "cells")
            return x, x.mean((0, 1))

        start = jnp.zeros((*SHAPE[1:3], CHANNELS))
        return jax.lax.scan(step, start, clip)[1].sum(0) @ jnp.asarray(HEAD)

    result = channel_extremal_perturbation(recurrent, "cells", areas=(0.3,))(CLIP, 1)
    mask, state, pooled = np.asarray(result.channels[0]), np.zeros(CHANNELS), 0.0
    for frame in CLIP:  # What is masked is what the next step remembers.
        state = mask * np.tanh(frame @ MIX + state @ turn)
        pooled = pooled + state.mean((0, 1))
    np.testing.assert_allclose(result.kept[0], softmax(pooled @ HEAD)[1], rtol=1e-10)
    assert result.values.shape == SHAPE[:3]


def test_shuffled_ties_need_a_key_and_follow_it():
    preset = published(3, learning_rate=0.004)
    explain = channel_extremal_perturbation(
        network, "cells", areas=(0.3,), preset=preset, ties="shuffle"
    )
    with pytest.raises(ValueError, match="`key`"):
        explain(CLIP, 1)
    one, two, again = (
        explain(CLIP, 1, key=jax.random.key(seed)).channels for seed in (0, 1, 0)
    )
    assert np.abs(one - two).max() > 1e-3
    np.testing.assert_array_equal(one, again)


@pytest.mark.slow
def test_half_precision_gives_float32_and_a_bad_traced_target_nan():
    explain = channel_extremal_perturbation(
        network, "cells", areas=(0.3,), num_iterations=2
    )
    half = explain(jnp.asarray(CLIP, jnp.bfloat16), 1)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.float32)}
    assert np.isfinite(half.values).all()
    for target in (-1, CLASSES):
        result = jax.jit(explain)(jnp.asarray(CLIP), target)
        for leaf in jax.tree.leaves(result):
            assert np.isnan(leaf).all()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"areas": ()}, "areas"),
        ({"areas": (1.0,)}, "areas"),
        ({"variant": "keep"}, "variant"),
        ({"preset": "slow"}, "preset"),
        ({"chunk": 0}, "chunk"),
        ({"layer": None}, "layer"),
    ],
)
def test_bad_settings_are_named_at_once(settings, name):
    settings = {"layer": "cells", "areas": (0.3,), **settings}
    with pytest.raises(ValueError, match=f"`{name}`"):
        channel_extremal_perturbation(network, **settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"over": "frame"}, "over"),
        ({"over": "channel", "at": "cells", "mode": "per_frame"}, "mode"),
        ({"over": "channel", "at": "cells", "perturbation": "fade"}, "perturbation"),
        ({"over": "channel"}, "at"),
        ({"over": "channel", "at": 3}, "at"),
        ({"at": "cells"}, "at"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        extremal_perturbation(network, areas=(0.3,), **settings)


def test_unknown_and_flat_layers_are_named():
    def flat(clip):
        return checkpoint_name(network(clip), "logits")

    for layer, message in (("cell", "Did you mean 'cells'"), ("logits", "no extent")):
        explain = channel_extremal_perturbation(flat, layer, areas=(0.3,))
        with pytest.raises(ValueError, match=message):
            explain(CLIP, 1)
