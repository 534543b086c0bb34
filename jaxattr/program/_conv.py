"""How a convolution of any layout becomes 2-D ones in the layout a CPU is fast in.

A 3-D convolution misses the fast path of XLA:CPU: the input gradient of R(2+1)D-18
takes 8 times longer than need be. Here each becomes one or several 2-D ones.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from jaxattr.program._conv_2d import Conv, conv_2d, padded, product_of_patches
from jaxattr.program._facts import Fact


def fold_rule(eqn: JaxprEqn, values: list[Any], facts: list[Fact]) -> list[Any] | None:
    """The rule of `fold_convs`; see there which convolutions it replaces."""
    if eqn.primitive.name != "conv_general_dilated":
        return None
    params = eqn.params
    rank = len(params["window_strides"])
    if rank not in (2, 3) or params["batch_group_count"] != 1:
        return None
    if rank == 3 and params["lhs_dilation"][0] != 1:
        return None
    if 0 in (*eqn.outvars[0].aval.shape, *values[0].shape, *values[1].shape):
        return None
    conv = Conv(
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        params["feature_group_count"],
        params["precision"],
        params["preferred_element_type"],
    )
    return [_folded(conv, params["dimension_numbers"], *values)]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _folded(conv, numbers, x, kernel):
    """Traced, and differentiated, once for all convolutions that are alike."""
    kernel = kernel.transpose(*numbers.rhs_spec[2:], *numbers.rhs_spec[1::-1])
    x = x.transpose(_channels_last(numbers.lhs_spec))
    x, conv = _pad_outside(x, kernel, conv)
    x, conv = _skip_unseen(x, kernel, conv)
    y = _conv_3d(x, kernel, conv) if x.ndim == 5 else conv_2d(x, kernel, conv)
    return y.transpose(np.argsort(_channels_last(numbers.out_spec)))


def _channels_last(spec):
    return (spec[0], *spec[2:], spec[1])


def _pad_outside(x, kernel, conv):
    """Pads and crops at once what a convolution should not be asked to.

    Cropping: XLA:CPU reads out of bounds on strided 2-D convolutions with negative
    padding. Padding beyond the kernel would become negative padding in the gradient.
    """
    inside, outside = [], []
    for size, padding, dilation in zip(kernel.shape, conv.padding, conv.rhs_dilation):
        reach = (size - 1) * dilation
        kept = tuple(min(max(p, 0), reach) for p in padding)
        inside.append(kept)
        outside.append(tuple(p - k for p, k in zip(padding, kept)))
    if not any(map(any, outside)):
        return x, conv
    interior = [spread - 1 for spread in conv.lhs_dilation]
    edges = [(lo, hi, i) for (lo, hi), i in zip(outside, interior)]
    x = padded(x, [(0, 0, 0), *edges, (0, 0, 0)])
    ones = (1,) * len(interior)
    return x, conv._replace(padding=tuple(inside), lhs_dilation=ones)


def _skip_unseen(x, kernel, conv):
    """Takes the strides of one-tap axes before the convolution instead of in it.

    The gradient of a slice is a cheap pad; that of a stride, a convolution of zeros.
    """
    skip = [
        taps == 1 and spread == 1
        for taps, spread in zip(kernel.shape, conv.lhs_dilation)
    ]
    steps = [stride if s else 1 for s, stride in zip(skip, conv.strides)]
    if max(steps) == 1:
        return x, conv
    x = lax.slice(x, [0] * x.ndim, x.shape, [1, *steps, 1])
    strides = tuple(1 if s else stride for s, stride in zip(skip, conv.strides))
    return x, conv._replace(strides=strides)


def _conv_3d(x, kernel, conv):
    """A 3-D convolution of [B, T, H, W, C] as a 2-D one."""
    pointwise = kernel.shape[1:3] == (1, 1) and conv.lhs_dilation == (1, 1, 1)
    if pointwise and kernel.shape[0] > 1:
        return _over_pixels(x, kernel[:, 0], conv)
    moves_by_one = conv.strides[0] == conv.rhs_dilation[0] == 1
    if conv.plain and moves_by_one and kernel.shape[0] > 1:
        return _frame_by_frame(x, kernel, conv)
    return _over_frames(x, kernel, conv)


def _over_pixels(x, kernel, conv):
    """A kernel [T, 1, C, O] that sees one pixel: its axes are time, and all pixels."""
    batch, time, height, width, channels = x.shape
    flat = conv._replace(
        strides=(conv.strides[0], 1),
        padding=(conv.padding[0], (0, 0)),
        lhs_dilation=(1, 1),
        rhs_dilation=(conv.rhs_dilation[0], 1),
    )
    y = conv_2d(x.reshape(batch, time, height * width, channels), kernel, flat)
    return y.reshape(batch, y.shape[1], height, width, y.shape[-1])


def _frame_by_frame(x, kernel, conv):
    """A kernel [T, H, W, C, O] that moves in time by one frame.

    The patches of a frame are made once and multiplied with the kernel's T slices side
    by side. What a frame gives to each of T outputs is added up on the way.
    """
    size, *taps, _ = kernel.shape
    slices = kernel.transpose(1, 2, 3, 0, 4).reshape(*taps, -1)

    def add(partial, frame):
        y = product_of_patches(frame, slices, conv.in_space)
        parts = lax.split(y, [y.shape[-1] // size] * size, axis=y.ndim - 1)
        sums = [part + y for part, y in zip((0, *partial), parts)]
        return tuple(sums[:-1]), sums[-1]

    frames = _swapped(x)
    frame = jax.ShapeDtypeStruct(frames.shape[1:], frames.dtype)
    spec = jax.eval_shape(lambda frame: add((0,) * size, frame)[1], frame)
    nothing = (jnp.zeros(spec.shape, spec.dtype),) * (size - 1)
    partial, y = lax.scan(add, nothing, frames)
    # Step t completes the output that sees frame t last; the rest wait for padding.
    waiting = [lax.expand_dims(part, (0,)) for part in partial[::-1]]
    y = lax.concatenate([y, *waiting], 0)
    low, high = conv.padding[0]
    y = lax.slice_in_dim(y, size - 1 - low, x.shape[1] + high)
    return _swapped(y)


def _swapped(x):
    """Time before batch, or behind it."""
    return lax.transpose(x, (1, 0, *range(2, x.ndim)))


def _over_frames(x, kernel, conv):
    """Any kernel [T, H, W, C, O]: time becomes batch, its T frames channels."""
    size, height, width, channels, out = kernel.shape
    low, high = conv.padding[0]
    x = padded(x, [(0, 0, 0), (low, high, 0), *[(0, 0, 0)] * 3])
    stride, dilation = conv.strides[0], conv.rhs_dilation[0]
    steps = (x.shape[1] - (size - 1) * dilation - 1) // stride + 1
    slices = [
        lax.slice_in_dim(x, start, start + (steps - 1) * stride + 1, stride, axis=1)
        for start in range(0, size * dilation, dilation)
    ]
    # The kernel of a group must find its own channels side by side, in every frame.
    grouped = [s.reshape(*s.shape[:-1], conv.groups, channels) for s in slices]
    frames = lax.concatenate(grouped, 5)
    frames = frames.reshape(-1, *frames.shape[2:4], conv.groups * size * channels)
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, -1, out)
    y = conv_2d(frames, kernel, conv.in_space)
    return y.reshape(x.shape[0], steps, *y.shape[1:])
