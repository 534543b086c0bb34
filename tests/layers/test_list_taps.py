"""Names, shapes and places of layers, against what the cells really see."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
import jaxattr_models
from jaxattr.program import trace


def seen(f, shape, name, cell):
    """First and last voxel, per axis, that a cell of a tap depends on."""
    rng = np.random.default_rng(0)

    def scalar(clip):
        tap = trace(f, clip, fold=False, modules=True).tapped(clip)[1][name]
        return tap.reshape(tap.shape[-4:])[cell].sum()

    gradient = np.abs(jax.grad(scalar)(jnp.asarray(rng.normal(size=shape)))).sum(-1)
    return [(i.min(), i.max()) for i in np.nonzero(gradient)]


def conv(x, size, stride, padding, features=2, dilation=(1, 1, 1)):
    kernel = jnp.asarray(
        np.random.default_rng(1).normal(size=(*size, x.shape[-1], features))
    )
    return lax.conv_general_dilated(
        x[None], kernel, stride, padding, rhs_dilation=dilation,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )[0]  # fmt: skip


def convolved(clip):
    x = conv(clip, (3, 4, 5), (2, 3, 1), ((1, 1), (0, 0), (2, 2)))
    x = conv(x, (1, 3, 3), (1, 1, 2), ((0, 0), (1, 1), (0, 0)), dilation=(1, 1, 2))
    return checkpoint_name(x, "cells").sum((0, 1, 2))


def pooled(clip):
    x = lax.reduce_window(
        clip, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    x = nn.avg_pool(x[None], (2, 1, 1), (2, 1, 1))[0]
    return checkpoint_name(x, "cells").sum((0, 1, 2))


def moved(clip):
    x = clip[1::2, :, 3:].transpose(3, 0, 2, 1)[None]
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 0), (2, 0))) * 2 + 1
    x = x[0].transpose(1, 3, 2, 0)
    blocks = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2], 3).mean(2)
    return checkpoint_name(jnp.tanh(blocks), "cells").sum((0, 1, 2))


def recurrent(clip):
    def step(h, frame):
        x = checkpoint_name(conv(frame[None], (1, 3, 3), (1, 2, 2), "VALID"), "cells")
        return h + x.mean((0, 1, 2)), x

    return lax.scan(step, jnp.zeros(2), clip)[0]


def mapped(clip):
    """Frames are a batch, as in a CNN in front of an LSTM."""
    x = lax.conv_general_dilated(
        clip,
        jnp.ones((3, 3, 3, 2)),
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return checkpoint_name(x, "cells").sum((0, 1, 2))


@pytest.mark.parametrize("f", [convolved, pooled, moved, mapped])
def test_cells_lie_in_the_middle_of_what_they_see(f, loose_promotion):
    shape, cell = (8, 20, 24, 3), (2, 3, 4)
    (tap,) = jaxattr.list_taps(f, jax.ShapeDtypeStruct(shape, jnp.float64))
    assert tap.name == "cells"
    for axis, (first, last) in enumerate(seen(f, shape, "cells", cell)):
        centre = tap.offset[axis] + cell[axis] * tap.stride[axis]
        assert centre == (first + last) / 2, f"axis {axis}"


def test_what_turns_or_moves_cells():
    clip = jnp.zeros((6, 5, 4, 3))

    def tap(change):
        def f(clip):
            return checkpoint_name(change(clip), "cells").mean((0, 1, 2))

        return jaxattr.list_taps(f, clip)[0]

    turned = tap(lambda x: x[::-2])
    assert (turned.stride, turned.offset) == ((-2, 1, 1), (5, 0, 0))
    for change in (
        lambda x: x[jnp.asarray([3, 1, 2])],
        lambda x: jnp.concatenate([x, x]),
        lambda x: jnp.roll(x, 1, 0),
    ):
        assert tap(change).stride[0] is None

    def late(clip):  # What is in the first frame shows in the last cell.
        return checkpoint_name(clip[::-1], "cells").sum((0, 1, 2))

    first = clip.at[0].set(1.0)
    shown = jaxattr.hires_cam(late, "cells")(first, 0).values
    assert np.abs(shown[0]).sum() > 0
    assert np.abs(shown[1:]).sum() == 0


def test_a_scan_adds_an_axis_of_steps():
    (tap,) = jaxattr.list_taps(recurrent, jnp.zeros((5, 9, 11, 3)))
    assert tap.shape == (5, 1, 4, 5, 2)  # Steps before the axis of one frame.


def test_modules_by_their_path():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 3, (3, 3, 3), rngs=rngs)

        def __call__(self, x):
            return nnx.relu(self.conv(x))

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.blocks = nnx.List([Block(rngs), Block(rngs)])
            self.head = nnx.Linear(3, 4, rngs=rngs)

        def __call__(self, clip):
            x = self.blocks[1](self.blocks[0](clip[None]))
            x = self.blocks[1](x)
            return self.head(checkpoint_name(x, "last").mean((0, 1, 2, 3)))

    call = Block.__call__
    net, clip = Net(nnx.Rngs(0)), jnp.zeros((4, 8, 6, 3), jnp.float32)
    names = [tap.name for tap in jaxattr.list_taps(net, clip)]
    assert names == [
        "blocks.0.conv", "blocks.0", "blocks.1.conv#0", "blocks.1#0",
        "blocks.1.conv#1", "blocks.1#1", "last", "head",
    ]  # fmt: skip
    assert Block.__call__ is call
    assert "__call__" not in vars(Net(nnx.Rngs(0)))
    clip = jnp.asarray(np.random.default_rng(0).normal(size=clip.shape), jnp.float32)
    by_path = jaxattr.grad_cam(net, "blocks.1#1")(clip, 1)
    by_name = jaxattr.grad_cam(net, "last")(clip, 1)
    np.testing.assert_array_equal(by_path.values, by_name.values)


def test_linen_modules_by_their_path():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(nn.Conv(3, (3, 3, 3), name="conv")(x))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, clip):
            x = Block(name="first")(clip[None])
            x = nn.remat(Block)(name="second")(x)
            return nn.Dense(4, name="head")(x.mean((0, 1, 2, 3)))

    net, clip = Net(), jnp.zeros((4, 8, 6, 3), jnp.float32)
    f = jax.tree_util.Partial(net.apply, net.init(jax.random.key(0), clip))
    taps = {tap.name: tap for tap in jaxattr.list_taps(f, clip)}
    assert {"first.conv", "first", "second", "head"} <= set(taps)
    assert taps["first"].stride == (1, 1, 1)
    assert taps["first"].offset == (0, 0, 0)
    clip = jnp.asarray(np.random.default_rng(0).normal(size=clip.shape), jnp.float32)
    got = jaxattr.hires_cam(f, "second", relu=False)(clip, 1)
    _, state = net.apply(
        f.args[0], clip, capture_intermediates=True, mutable="intermediates"
    )
    (a,) = state["intermediates"]["second"]["__call__"]
    head = f.args[0]["params"]["head"]["kernel"][:, 1] / a[0, ..., 0].size
    np.testing.assert_allclose(
        got.cells, np.asarray(a[0]) @ np.asarray(head), atol=1e-6
    )


def test_the_port_s_layers_and_where_they_lie():
    net = jaxattr_models.r2plus1d_18(num_classes=7)
    clip = jax.ShapeDtypeStruct((16, 112, 112, 3), jnp.float32)
    taps = {tap.name: tap for tap in jaxattr.list_taps(net, clip)}
    assert {"stem", "layer1", "layer2", "layer3", "layer4"} <= set(taps)
    last = taps["layer4"]
    assert last.shape == (2, 7, 7, 512)
    # Stride-2 kernels of 3 with padding 1 begin at the first voxel each time.
    assert last.stride == (8, 16, 16)
    assert last.offset == (0, 0, 0)


def test_why_a_value_that_is_named_is_no_layer():
    def f(clip):
        unused = checkpoint_name(clip * 2, "unused")
        x = lax.cond(
            clip.sum() > 0, lambda x: checkpoint_name(x + 1, "branch"), jnp.sin, clip
        )
        del unused
        return checkpoint_name(x, "after").mean((0, 1, 2))

    clip = jnp.zeros((2, 3, 4, 3))
    assert [tap.name for tap in jaxattr.list_taps(f, clip)] == ["after"]
    here = [rf"test_list_taps.py:{f.__code__.co_firstlineno + i}" for i in (1, 3)]
    for name, said in {
        "unused": rf"at \S*{here[0]}, on which the output of `f` does not depend",
        "branch": rf"inside of a `cond`, at \S*{here[1]}, .*what the `cond` returns",
        "brunch": "does not exist",
    }.items():
        with pytest.raises(ValueError, match=f"`layer` '{name}' .*{said}.*are: after"):
            jaxattr.grad_cam(f, name)(clip, 0)


def test_nothing_named():
    assert jaxattr.list_taps(lambda x: x.mean((0, 1, 2)), jnp.zeros((2, 3, 4, 3))) == ()
    with pytest.raises(ValueError, match=r"`layer` 'a' does not exist.*none; name"):
        jaxattr.grad_cam(lambda x: x.mean((0, 1, 2)), "a")(jnp.zeros((2, 3, 4, 3)), 0)
