"""Excitation backpropagation against its definition, worked numbers and loops."""

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
    ("contrastive", "want"), [(False, [0.5, 0.5, 0]), (True, [0.5, 0.5, 0])]
)
def test_worked_numbers(contrastive, want):
    def f(clip):
        return checkpoint_name(clip, "units").reshape(-1) @ W

    units = jnp.asarray([1.0, 2, 0.5]).reshape(1, 1, 3, 1)
    explain = jaxattr.excitation_backprop(f, "units", contrastive=contrastive)
    np.testing.assert_allclose(explain(units, 0).values.ravel(), want, rtol=1e-12)


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


def test_negative_cells_are_told_and_a_network_without_weights_refused():
    clip = jnp.asarray([1.0, -3]).reshape(1, 1, 2, 1)

    def f(clip):
        return checkpoint_name(clip, "cells").reshape(-1) @ jnp.ones((2, 2))

    got = jaxattr.excitation_backprop(f, "cells")(clip, 0)
    np.testing.assert_allclose(got.negative, 0.75)
    np.testing.assert_allclose(got.values.ravel(), [1, 0])
    pooled = jaxattr.excitation_backprop(
        lambda x: checkpoint_name(x, "cells").mean((0, 1, 2)), "cells"
    )
    np.testing.assert_allclose(pooled(clip, 0).values.ravel(), [1, 0])
    with pytest.raises(ValueError, match=r"`f` must end in a convolution"):
        jaxattr.excitation_backprop(
            lambda x: checkpoint_name(x, "cells").mean((0, 1, 2)),
            "cells",
            contrastive=True,
        )(clip, 0)


def test_a_branch_that_inhibits_gets_nothing():
    def f(clip):
        x = checkpoint_name(clip, "cells")
        return jax.nn.relu(x + (1e-4 - 0.9999 * x)).mean((0, 1, 2)) @ jnp.ones((3, 2))

    clip = jnp.asarray(np.abs(np.random.default_rng(5).normal(size=SHAPE)))
    got = jaxattr.excitation_backprop(f, "cells")(clip, 0).cells
    assert got.min() >= 0
    assert 0.99 < got.sum() < 1 + 1e-12  # What the constant excites is lost.


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
