"""Class Feature Pyramids against slow loops, worked numbers and other structures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr._resize import to_clip
from jaxattr.program import Axis

SHAPE = (6, 8, 10, 3)
RNG = np.random.default_rng(3)
KERNELS = [
    RNG.normal(size=s) + 0.1
    for s in ((1, 3, 3, 3, 4), (3, 1, 1, 4, 5), (2, 2, 2, 5, 6))
]
STRIDES = [(1, 2, 1), (1, 1, 1), (2, 1, 2)]
SCALE, SHIFT, HEAD = RNG.normal(size=5), RNG.normal(size=5), RNG.normal(size=(6, 4))


def conv(x, kernel, strides=(1, 1, 1), **settings):
    return lax.conv_general_dilated(
        x, jnp.asarray(kernel), strides, "VALID",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"), **settings,
    )  # fmt: skip


def network(clip):
    """Three convolutions, batch norm, two kinds of pool, a head."""
    x = jax.nn.relu(conv(clip[None], KERNELS[0], STRIDES[0]))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 1, 2, 1), (1,) * 5, "VALID")
    x = conv(x, KERNELS[1], STRIDES[1])
    x = jax.jit(lambda x: x * jnp.asarray(SCALE)[None, None, None, None])(x)
    x = jnp.maximum(x + jnp.asarray(SHIFT)[None, None, None, None], 0)
    x = checkpoint_name(jax.nn.relu(conv(x, KERNELS[2], STRIDES[2])), "cells")
    return x.mean((0, 1, 2, 3)) @ jnp.asarray(HEAD) + 3


def slow_conv(x, kernel, strides):
    size = kernel.shape[:3]
    counts = [(n - k) // s + 1 for n, k, s in zip(x.shape, size, strides)]
    out = np.zeros((*counts, kernel.shape[4]))
    for cell in np.ndindex(*counts):
        at = tuple(slice(i * s, i * s + k) for i, s, k in zip(cell, strides, size))
        out[cell] = np.tensordot(x[at], kernel, 4)
    return out


def scaled(x):
    return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else 0 * x


def by_hand(clip, target, threshold, depth=3):
    """Levels of (cells, channels, inputs), channel by channel."""
    a = [np.asarray(clip)]
    x = np.maximum(slow_conv(a[0], KERNELS[0], STRIDES[0]), 0)
    a.append(np.maximum(x[:, :, :-1], x[:, :, 1:]))
    x = slow_conv(a[1], KERNELS[1], STRIDES[1])
    a.append(np.maximum(x * SCALE + SHIFT, 0))
    kept = set(np.flatnonzero(scaled(HEAD)[:, target] >= threshold))
    levels = []
    for kernel, below in list(zip(KERNELS, a))[::-1][:depth]:
        count = kernel.shape[3:]
        inputs, tubes = np.zeros(count, bool), []
        for i in kept:
            p = np.array(
                [
                    kernel[..., j, i].mean() * below[..., j].mean()
                    for j in range(count[0])
                ]
            )
            inputs[:, i] = scaled(p / p.sum()) >= threshold
            tubes.append(
                scaled(sum(below[..., j] for j in np.flatnonzero(inputs[:, i])))
            )
        cells = sum(tubes) / len(tubes)
        levels.append((cells, np.isin(np.arange(count[1]), list(kept)), inputs))
        kept = set(np.flatnonzero(inputs.any(1)))
    return levels


# Where the inputs of the convolutions lie, the topmost first.
PLACES = [
    (Axis(0, 1, 1), Axis(1, 2, 1), Axis(2, 1, 1.5)),
    (Axis(0, 1, 0), Axis(1, 2, 1), Axis(2, 1, 1.5)),
    (Axis(0, 1, 0), Axis(1, 1, 0), Axis(2, 1, 0)),
]


@pytest.mark.parametrize(("target", "threshold", "depth"), [(1, 0.6, 9), (2, 0.4, 2)])
def test_a_chain_of_convolutions_against_loops(target, threshold, depth):
    clip = np.random.default_rng(1).normal(size=SHAPE) + 0.5
    settings = {"depth": depth, "threshold": threshold}
    explain = jaxattr.class_feature_pyramids(network, "cells", **settings)
    got = explain(jnp.asarray(clip), target)
    want = by_hand(clip, target, threshold, depth)
    assert len(got.levels) == len(want) == min(depth, 3)
    shown = []
    for level, (cells, channels, inputs), place in zip(got.levels, want, PLACES):
        np.testing.assert_array_equal(level.channels, channels)
        np.testing.assert_array_equal(level.inputs, inputs)
        np.testing.assert_allclose(level.cells, cells, rtol=1e-9, atol=1e-12)
        shown.append(to_clip(jnp.asarray(cells), SHAPE[:3], place))
        np.testing.assert_allclose(level.values, shown[-1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.values, np.mean(shown, 0), rtol=1e-9)
    # Something is kept everywhere, and not everything.
    assert all(0 < level.inputs.sum() < level.inputs.size for level in got.levels)


def test_worked_numbers():
    kernel = jnp.asarray([0.5, -0.2, 0.9, 0.1]).reshape(1, 1, 1, 4, 1)
    spread = RNG.normal(size=(3, 4, 5, 1))
    clip = jnp.asarray([2, 1, 1, 0.5])[None, None, None] + jnp.asarray(
        spread - spread.mean()
    )

    def f(clip):
        x = checkpoint_name(conv(clip[None], kernel), "cells")
        return x.mean((0, 1, 2, 3)) @ jnp.asarray([[1.0, 0]])

    for threshold, want in (
        (0.6, [1, 0, 1, 0]),
        (0.95, [1, 0, 0, 0]),
        (0.2, [1, 0, 1, 1]),
    ):
        explain = jaxattr.class_feature_pyramids(f, "cells", threshold=threshold)
        (level,) = explain(clip, 0).levels
        np.testing.assert_array_equal(level.inputs[:, 0], want)
        kept = np.asarray(clip) @ np.array(want)
        np.testing.assert_allclose(level.cells, scaled(kept), rtol=1e-9, atol=1e-12)
        assert not explain(clip, 1).values.any()


def ending(block):
    """A network with `block` between its two convolutions."""

    def f(clip):
        x = block(jax.nn.relu(conv(clip[None], KERNELS[0])))
        x = checkpoint_name(jax.nn.relu(conv(x, KERNELS[1])), "cells")
        return x.mean((0, 1, 2, 3)) @ jnp.asarray(HEAD[:5])

    return f


CLIP = jax.ShapeDtypeStruct(SHAPE, jnp.float64)
MIDDLE = RNG.normal(size=(1, 1, 1, 4, 4))


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (lambda x: x + conv(x, MIDDLE), 3),
        (lambda x: jax.nn.silu(conv(x, MIDDLE)) + x, 3),
        (
            lambda x: (x.transpose(0, 4, 1, 2, 3) * 2).transpose(0, 2, 3, 4, 1)[0][
                None
            ],
            2,
        ),
    ],
)
def test_of_a_sum_the_longer_branch_is_followed(block, count):
    explain = jaxattr.class_feature_pyramids(ending(block), "cells", depth=9)
    levels = jax.eval_shape(lambda clip: explain(clip, 1), CLIP).levels
    shapes = [level.inputs.shape for level in levels]
    assert shapes == [(4, 5), *[(4, 4)] * (count - 2), (3, 4)]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (lambda x: conv(x, MIDDLE[:, :, :, :1], feature_group_count=4), "grouped"),
        (lambda x: jnp.concatenate([x[..., :2], x[..., 2:]], -1), "slice|concatenate"),
        (lambda x: x * jax.nn.sigmoid(x.mean((1, 2, 3), keepdims=True)), "mul"),
        (lambda x: x @ jnp.asarray(MIDDLE[0, 0, 0]), "dot_general"),
        (lambda x: jax.checkpoint(jnp.tanh)(x), "checkpoint"),
        (lambda x: jax.nn.softmax(x), "custom_jvp_call|div"),
        (lambda x: x[..., ::-1], "rev"),
        (lambda x: conv(x.swapaxes(1, 4), RNG.normal(size=(1, 1, 1, 6, 4))), "axes"),
    ],
)
def test_what_makes_other_channels_is_refused_by_name(block, said):
    explain = jaxattr.class_feature_pyramids(ending(block), "cells", depth=2)
    with pytest.raises(
        ValueError, match=rf"`layer` 'cells'.*number 2.*made by.*({said})"
    ):
        explain(jnp.ones(SHAPE), 0)


def test_bad_settings_are_named():
    clip = jnp.ones(SHAPE)
    with pytest.raises(ValueError, match=r"`depth`.*0"):
        jaxattr.class_feature_pyramids(network, "cells", depth=0)
    with pytest.raises(ValueError, match=r"`threshold`.*60"):
        jaxattr.class_feature_pyramids(network, "cells", threshold=60)
    with pytest.raises(ValueError, match=r"`layer`.*'cell'.*Did you mean 'cells'"):
        jaxattr.class_feature_pyramids(network, "cell")(clip, 0)
    with pytest.raises(ValueError, match=r"`layer` 'x'.*it is the clip"):
        jaxattr.class_feature_pyramids(
            lambda clip: checkpoint_name(clip, "x").mean((0, 1, 2)), "x"
        )(clip, 0)


def test_means_over_blocks_are_pools():
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))

    def blocks(x):  # [1, 6, 6, 8, 4]: two rows are one.
        _, t, h, w, c = x.shape
        return x.reshape(1, t, h // 2, 2, w, c).mean(3)

    def windows(x):
        size = (1, 1, 2, 1, 1)
        return lax.reduce_window(x, 0.0, lax.add, size, size, "VALID") / 2

    got, want = (
        jaxattr.class_feature_pyramids(ending(pool), "cells", threshold=0.2)(clip, 1)
        for pool in (blocks, windows)
    )
    assert np.ptp(want.values) > 0
    np.testing.assert_allclose(got.values, want.values, rtol=1e-9)


def test_axes_that_lie_otherwise_are_refused():
    def flattened(x):  # Time alone is convolved, places are one axis.
        _, t, h, w, c = x.shape
        x = lax.conv_general_dilated(
            x.reshape(1, t, h * w, c), jnp.asarray(MIDDLE[0]), (1, 1), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return x.reshape(1, t, h, w, c)

    explain = jaxattr.class_feature_pyramids(ending(flattened), "cells", depth=2)
    with pytest.raises(ValueError, match="on the way to `layer`, whose axes are other"):
        explain(jnp.ones(SHAPE), 0)
