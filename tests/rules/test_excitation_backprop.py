"""Excitation backpropagation against its definition, worked numbers and loops."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr

SHAPE = (4, 6, 8, 3)
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 1, 3, 3, 4))
BRANCH = RNG.normal(size=(4, 4))
SCALE, SHIFT = RNG.uniform(0.5, 1.5, size=4), RNG.normal(size=4)
HEAD, BIAS = RNG.normal(size=(4, 5)), RNG.normal(size=5)


def row(values):
    return jnp.asarray(values)[None, None, None, None]


def network(clip):
    """Positive cells, a convolution with statistics, a residual, pools, a head."""
    x = checkpoint_name(jnp.abs(clip), "cells")[None]
    y = lax.conv_general_dilated(
        x, jnp.asarray(KERNEL), (1, 2, 2), "VALID",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )  # fmt: skip
    y = jax.nn.relu((y - row(SHIFT)) * row(SCALE) + row(SHIFT))
    y = jax.nn.relu(y + y @ jnp.asarray(BRANCH))
    return y.mean((0, 1, 2, 3)) @ jnp.asarray(HEAD) + jnp.asarray(BIAS)


def split(p, x, weights):
    """P_j = x_j sum_k w+_jk P_k / sum_i x_i w+_ik, with x [j] and weights [j, k]."""
    excite = np.maximum(weights, 0)
    total = x @ excite
    return x * (excite @ np.divide(p, total, out=np.zeros_like(p), where=total > 0))


def by_hand(clip, target, sign):
    """[T, H, W, C] probabilities, in loops over cells."""
    x = np.abs(clip)
    frames, height, width = 2, 6 // 2 - 0, (8 - 3) // 2 + 1
    z = np.zeros((frames, height, width, 4))
    for t, i, j in np.ndindex(frames, height, width):
        patch = x[t : t + 3, 2 * i : 2 * i + 1, 2 * j : 2 * j + 3]
        z[t, i, j] = np.tensordot(patch, KERNEL, 4)
    a = np.maximum((z - SHIFT) * SCALE + SHIFT, 0)
    b = a @ BRANCH
    y = np.maximum(a + b, 0)
    pooled = y.mean((0, 1, 2))
    p = split(np.eye(5)[target], pooled, sign * HEAD)
    total = y.sum((0, 1, 2))
    p = y * np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    want = np.zeros_like(x)
    for cell in np.ndindex(frames, height, width):
        q = p[cell] * (a[cell] + b[cell] > 0)
        branch = np.maximum(b[cell], 0)
        ratio = np.divide(q, a[cell] + branch, out=np.zeros(4), where=q != 0)
        q = a[cell] * ratio + split(branch * ratio, a[cell], BRANCH)
        q = q * (a[cell] > 0)
        t, i, j = cell
        at = np.s_[t : t + 3, 2 * i : 2 * i + 1, 2 * j : 2 * j + 3]
        want[at] += split(q, x[at].ravel(), KERNEL.reshape(-1, 4)).reshape(3, 1, 3, 3)
    return want


def test_every_rule_against_loops():
    clip = np.random.default_rng(1).normal(size=SHAPE)
    for target in range(5):
        first, second = (by_hand(clip, target, sign) for sign in (1, -1))
        explain = jaxattr.excitation_backprop(network, "cells")
        got = explain(jnp.asarray(clip), target)
        np.testing.assert_allclose(got.cells, first.sum(-1), rtol=1e-9, atol=1e-15)
        assert got.negative == 0
        explain = jaxattr.excitation_backprop(network, "cells", contrastive=True)
        got = explain(jnp.asarray(clip), target)
        want = np.maximum((first - second).sum(-1), 0)
        np.testing.assert_allclose(got.cells, want, rtol=1e-9, atol=1e-15)


W = jnp.asarray([[1.0, -1], [0.5, 1], [-1, 2]])


@pytest.mark.parametrize(
    ("sign", "contrastive", "want"),
    [
        (1, False, [0.5, 0.5, 0]),
        (-1, False, [0, 0, 1]),
        # Of the difference (0.5, 0.5, -1) the positive part, either way round.
        (1, True, [0.5, 0.5, 0]),
        (-1, True, [0, 0, 1]),
    ],
)
def test_worked_numbers(sign, contrastive, want):
    def f(clip):
        return checkpoint_name(clip, "units").reshape(-1) @ (sign * W)

    units = jnp.asarray([1.0, 2, 0.5]).reshape(1, 1, 3, 1)
    explain = jaxattr.excitation_backprop(f, "units", contrastive=contrastive)
    np.testing.assert_allclose(explain(units, 0).values.ravel(), want, rtol=1e-12)


def test_a_contrast_is_truncated_at_the_end():
    """Units of contrast 0.5 and -1 share a cell: (0.5 - 1, 0.5), not (0.5, 0.5)."""

    def f(clip):
        return checkpoint_name(clip, "units").reshape(-1) @ W[jnp.asarray([0, 2, 1, 1])]

    units = jnp.asarray([[1.0, 0.5], [2, 0]]).reshape(1, 1, 2, 2)
    got = jaxattr.excitation_backprop(f, "units", contrastive=True)(units, 0)
    np.testing.assert_allclose(got.cells.ravel(), [0, 0.5], rtol=1e-12)


def test_probabilities_sum_to_one_and_a_scaled_unit_changes_nothing():
    rng = np.random.default_rng(3)
    a, b, c = (
        jnp.asarray(np.abs(rng.normal(size=s))) for s in ((3, 6), (6, 4), (4, 2))
    )
    clip = jnp.asarray(np.abs(rng.normal(size=SHAPE)))

    def f(scale):
        def network(clip):
            x = checkpoint_name(clip, "cells")
            x = jax.nn.relu(x @ (a * scale[None]))
            x = lax.reduce_window(
                x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
            )
            x = jax.nn.relu((x / scale[None, None, None]) @ b)
            return x.mean((0, 1, 2)) @ c

        return network

    one = jaxattr.excitation_backprop(f(jnp.ones(6)), "cells")(clip, 1)
    np.testing.assert_allclose(one.cells.sum(), 1, rtol=1e-12)
    scaled = f(jnp.asarray(rng.uniform(0.1, 9, size=6)))
    other = jaxattr.excitation_backprop(scaled, "cells")(clip, 1)
    np.testing.assert_allclose(other.cells, one.cells, rtol=1e-9)


def test_a_scan_is_its_unrolled_network():
    rng = np.random.default_rng(4)
    mix, into = (jnp.asarray(np.abs(rng.normal(size=s))) for s in ((5, 5), (3, 5)))

    def step(h, frame):
        return jax.nn.relu(frame.mean((0, 1)) @ into + h @ mix)

    def scanned(clip):
        x = checkpoint_name(clip, "cells")
        return lax.scan(lambda h, r: (step(h, r), None), jnp.zeros(5), x)[0]

    def unrolled(clip):
        x, h = checkpoint_name(clip, "cells"), jnp.zeros(5)
        for t in range(len(clip)):
            h = step(h, x[t])
        return h

    clip = jnp.asarray(np.abs(rng.normal(size=SHAPE)))
    target = int(scanned(clip).argmax())
    maps = [
        jaxattr.excitation_backprop(f, "cells")(clip, target).cells
        for f in (scanned, unrolled)
    ]
    assert np.count_nonzero(np.abs(maps[0]).sum((1, 2))) == len(clip)
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-9, atol=1e-15)


def test_negative_cells_are_told():
    clip = jnp.asarray([1.0, -3]).reshape(1, 1, 2, 1)

    def f(clip):
        return checkpoint_name(clip, "cells").reshape(-1) @ jnp.ones((2, 2))

    explain = jaxattr.excitation_backprop(f, "cells")
    with pytest.warns(
        jaxattr.ExplanationWarning, match="75% of the activation.*is negative"
    ):
        got = explain(clip, 0)
    np.testing.assert_allclose(got.negative, 0.75)
    np.testing.assert_allclose(got.values.ravel(), [1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traced = jax.jit(explain)(clip, 0)
        explain(jnp.abs(clip), 0)
    np.testing.assert_allclose(traced.negative, 0.75)


def test_pools_alone_walk_likewise():
    def f(clip):
        scores = clip @ jnp.ones((1, 1))
        return checkpoint_name(scores, "scores").mean((0, 1, 2))

    clip = jnp.asarray([1.0, 3]).reshape(1, 1, 2, 1)
    got = jaxattr.excitation_backprop(f, "scores")(clip, 0)
    np.testing.assert_allclose(got.values.ravel(), [0.25, 0.75])


def test_a_branch_that_inhibits_gets_nothing():
    def f(clip):
        x = checkpoint_name(clip, "cells")
        return jax.nn.relu(x + (1e-4 - 0.9999 * x)).mean((0, 1, 2)) @ jnp.ones((3, 2))

    clip = jnp.asarray(np.abs(np.random.default_rng(5).normal(size=SHAPE)))
    got = jaxattr.excitation_backprop(f, "cells")(clip, 0).cells
    assert got.min() >= 0
    assert 0.99 < got.sum() < 1 + 1e-12  # What the constant excites is lost.


def test_what_is_subtracted_leaves_all_to_what_it_is_taken_from():
    def difference(x):
        return jax.nn.relu(2 * x - jnp.roll(x, 1, 2))

    def f(clip):
        cells = checkpoint_name(clip, "cells")
        return difference(cells).mean((0, 1, 2)) @ jnp.ones((3, 2))

    clip = jnp.asarray(np.abs(np.random.default_rng(6).normal(size=SHAPE)))
    got = jaxattr.excitation_backprop(f, "cells")(clip, 0).cells
    excited = np.asarray(difference(clip)).sum(-1)  # All weights above it are alike.
    np.testing.assert_allclose(got, excited / excited.sum(), rtol=1e-12)


def test_it_has_no_gradient_rather_than_a_wrong_one():
    explain = jaxattr.excitation_backprop(network, "cells")
    with pytest.raises(TypeError, match="cannot be differentiated"):
        jax.grad(lambda clip: explain(clip, 0).values.sum())(jnp.ones(SHAPE))


def test_a_prediction_layer_that_is_called_twice_is_refused():
    dense = jax.jit(lambda h, w: h @ w)

    def f(clip):
        x = checkpoint_name(clip, "cells").mean((0, 1, 2))
        return dense(jax.nn.relu(dense(x, jnp.ones((3, 3)))), jnp.ones((3, 3)))

    with pytest.raises(ValueError, match=r"`f` must end in.*called twice"):
        jaxattr.excitation_backprop(f, "cells", contrastive=True)(jnp.ones(SHAPE), 0)


UNITS = 4
INTO, MIX, LSTM_BIAS, LSTM_HEAD = (
    np.random.default_rng(48).normal(size=shape)
    for shape in ((3, 4 * UNITS), (UNITS, 4 * UNITS), 4 * UNITS, (UNITS, 5))
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm(pre_activations):
    """An LSTM with ReLUs instead of tanh, as the paper's, over the means of frames."""

    def f(clip):
        x = checkpoint_name(jnp.abs(clip), "cells").mean((1, 2))
        rows, sums = pre_activations(x)

        def step(carry, row):
            h, c = carry
            write, keep, cell, read = jnp.split(sums(row, h), 4, axis=-1)
            c = jax.nn.sigmoid(keep) * c + jax.nn.sigmoid(write) * jax.nn.relu(cell)
            return (jax.nn.sigmoid(read) * jax.nn.relu(c), c), None

        zeros = jnp.zeros(UNITS)
        (h, _), _ = lax.scan(step, (zeros, zeros), rows)
        return h @ jnp.asarray(LSTM_HEAD)

    return f


SPELLINGS = {
    "projected in a step": lambda x: (x, lambda r, h: r @ INTO + h @ MIX + LSTM_BIAS),
    "projected before": lambda x: (
        x @ jnp.asarray(INTO) + jnp.asarray(LSTM_BIAS)[None],
        lambda r, h: r + h @ MIX,
    ),
    "gate by gate": lambda x: (
        x,
        lambda r, h: jnp.concatenate(
            [
                r @ INTO[:, gate] + (h @ MIX[:, gate] + LSTM_BIAS[gate])
                for gate in np.split(np.arange(4 * UNITS), 4)
            ]
        ),
    ),
    "jitted": lambda x: (
        x,
        lambda r, h: jax.jit(lambda r, h: r @ INTO + (h @ MIX + LSTM_BIAS))(r, h),
    ),
}


def unrolled(clip, target, sign):
    """[T, H, W, C] EB-R walk, in loops: the state's derivative, all to the input."""
    a = np.abs(clip)
    x, h, c, tape = a.mean((1, 2)), np.zeros(UNITS), np.zeros(UNITS), []
    for row in x:
        z = np.split(row @ INTO + h @ MIX + LSTM_BIAS, 4)
        write, keep, read = (sigmoid(z[i]) for i in (0, 1, 3))
        before, c = c, keep * c + write * np.maximum(z[2], 0)
        tape.append((z, write, keep, read, before, c))
        h = read * np.maximum(c, 0)
    p_h, p_c = split(np.eye(5)[target], h, sign * LSTM_HEAD), np.zeros(UNITS)
    want = np.zeros_like(a)
    for t in reversed(range(len(x))):
        z, write, keep, read, before, c = tape[t]
        p_read = p_h * np.maximum(c, 0) * read * (1 - read)
        p_c = p_c + p_h * read * (c > 0)
        p_write = p_c * np.maximum(z[2], 0) * write * (1 - write)
        p_keep = p_c * before * keep * (1 - keep)
        p_cell = p_c * write * (z[2] > 0)
        p_x = split(np.concatenate([p_write, p_keep, p_cell, p_read]), x[t], INTO)
        want[t] = a[t] * p_x / a[t].sum((0, 1))
        p_h, p_c = np.zeros(UNITS), p_c * keep
    return want


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_of_a_recurrent_sum_to_its_input(spelling):
    f = lstm(SPELLINGS[spelling])
    clip = np.random.default_rng(8).normal(size=SHAPE)
    walks = [unrolled(clip, 2, sign) for sign in (1, -1)]
    assert np.count_nonzero(walks[0].sum((1, 2, 3)) > 1e-2) == len(clip)
    settings = {"recurrent": "input"}
    got = jaxattr.excitation_backprop(f, "cells", **settings)(jnp.asarray(clip), 2)
    np.testing.assert_allclose(got.cells, walks[0].sum(-1), rtol=1e-9, atol=1e-15)
    if spelling == "projected before":
        shares = jaxattr.excitation_backprop(f, "cells")(jnp.asarray(clip), 2)
        assert np.abs(np.asarray(shares.cells) - got.cells).max() > 1e-3
        settings |= {"normalise": True, "contrastive": True}
        got = jaxattr.excitation_backprop(f, "cells", **settings)(jnp.asarray(clip), 2)
        first, second = (len(clip) * w.sum(-1) / w.sum() for w in walks)
        want = np.maximum(first - second, 0)
        assert 0 < np.count_nonzero(want) < want.size
        np.testing.assert_allclose(got.cells, want, rtol=1e-9, atol=1e-15)


def test_a_reset_gate_leaves_the_recurrent_projection_one():
    rng = np.random.default_rng(9)
    into, mix, head = (
        jnp.asarray(np.abs(rng.normal(size=s))) for s in ((3, 4), (4, 4), (4, 2))
    )

    def step(h, row):
        new = jax.nn.relu(row @ into + jax.nn.sigmoid(row.sum()) * (h @ mix))
        return 0.25 * h + 0.75 * new, None

    def f(clip):
        x = checkpoint_name(clip, "cells").mean((1, 2))
        return lax.scan(step, jnp.zeros(4), x)[0] @ head

    clip = jnp.asarray(np.abs(rng.normal(size=SHAPE)))
    settings = {"recurrent": "input", "normalise": True}
    got = jaxattr.excitation_backprop(f, "cells", **settings)(clip, 1)
    np.testing.assert_allclose(got.cells.sum(), len(clip), rtol=1e-12)
    frames = np.asarray(got.cells).sum((1, 2))
    assert np.all(frames > 0)
    # Numbers pass everything on, so each step gets what the last one gets.
    np.testing.assert_allclose(frames, 1, rtol=1e-9)


def test_a_normalised_walk_of_worked_numbers():
    def f(clip):
        return checkpoint_name(clip, "units").sum((0, 1, 2)) @ jnp.ones((1, 2))

    units = jnp.asarray([[1.0, 3], [2, 2]]).reshape(2, 1, 2, 1)
    got = jaxattr.excitation_backprop(f, "units", normalise=True)
    want = [[0.25, 0.75], [0.5, 0.5]]
    np.testing.assert_allclose(got(units, 0).cells[:, 0], want, rtol=1e-12)
    assert not got(-units, 0).cells.any()
    assert np.isnan(jax.jit(got)(units, 7).cells).all()


def test_recurrent_is_checked():
    with pytest.raises(ValueError, match=r"`recurrent`.*'input'.*'paper'"):
        jaxattr.excitation_backprop(network, "cells", recurrent="paper")
    with pytest.raises(ValueError, match=r"`f` has no sum of an input and a recurrent"):
        jaxattr.excitation_backprop(network, "cells", recurrent="input")(
            jnp.ones(SHAPE), 0
        )


def test_contrast_needs_one_prediction_layer():
    def f(clip):
        x = checkpoint_name(jnp.abs(clip), "cells").mean((0, 1, 2))
        return {"noun": x @ jnp.ones((3, 2)), "verb": x @ jnp.ones((3, 4))}

    explain = jaxattr.excitation_backprop(
        f,
        "cells",
        contrastive=True,
        score=lambda output, target: output["noun"][target],
    )
    with pytest.raises(ValueError, match="one prediction layer: `f` has 2 outputs"):
        explain(jnp.ones((2, 4, 5, 3)), 0)
