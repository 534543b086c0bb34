"""How one convolution is folded, so that a CPU runs it and its gradient at full speed.

XLA:CPU has a fast path for 2-D convolutions in layout NHWC x HWIO and for nothing
else. A 3-D convolution misses it (the input gradient of R(2+1)D-18 takes 8 times
longer than need be), and so does the input gradient of a 2-D one inside a loop: JAX
asks for the reversed kernel with its channel axes swapped by name only, XLA hoists the
reversal out of the loop, and what is left has layout 01oi.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import JaxprEqn

# Up to here weights outweigh activations: reversing the kernel for the gradient costs
# more than the convolution, and a matrix product needs no reversal.
_FEW_POSITIONS = 256
_NHWC = ("NHWC", "HWIO", "NHWC")
_SWAPPED = ("NHWC", "HWOI", "NHWC")


class _Conv(NamedTuple):
    """The settings of one convolution, one entry per spatial axis; hashable."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int
    precision: Any
    dtype: Any  # Of the result; None for that of the operands.


def fold_rule(eqn: JaxprEqn, values: list[Any]) -> list[Any] | None:
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
    conv = _Conv(
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        params["feature_group_count"],
        params["precision"],
        params["preferred_element_type"],
    )
    numbers = params["dimension_numbers"]
    kernel = values[1].transpose(*numbers.rhs_spec[2:], *numbers.rhs_spec[1::-1])
    x = values[0].transpose(_channels_last(numbers.lhs_spec))
    x, conv = _pad_outside(x, kernel, conv)
    x, conv = _skip_unseen(x, kernel, conv)
    y = _conv_3d(x, kernel, conv) if rank == 3 else _conv_2d(x, kernel, conv)
    return [y.transpose(np.argsort(_channels_last(numbers.out_spec)))]


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
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
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
    y = _conv_2d(x.reshape(batch, time, height * width, channels), kernel, flat)
    return y.reshape(batch, y.shape[1], height, width, y.shape[-1])


def _over_frames(x, kernel, conv):
    """Any kernel [T, H, W, C, O]: time becomes batch, its T frames channels."""
    size, height, width, channels, out = kernel.shape
    low, high = conv.padding[0]
    x = jnp.pad(x, ((0, 0), (low, high), (0, 0), (0, 0), (0, 0)))
    stride, dilation = conv.strides[0], conv.rhs_dilation[0]
    steps = (x.shape[1] - (size - 1) * dilation - 1) // stride + 1
    slices = [
        lax.slice_in_dim(x, start, start + (steps - 1) * stride + 1, stride, axis=1)
        for start in range(0, size * dilation, dilation)
    ]
    # The kernel of a group must find its own channels side by side, in every frame.
    grouped = [s.reshape(*s.shape[:-1], conv.groups, channels) for s in slices]
    frames = jnp.concatenate(grouped, axis=-1)
    frames = frames.reshape(-1, *frames.shape[2:4], conv.groups * size * channels)
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, -1, out)
    flat = _Conv(*(setting[1:] for setting in conv[:4]), *conv[4:])
    y = _conv_2d(frames, kernel, flat)
    return y.reshape(x.shape[0], steps, *y.shape[1:])


def _conv_2d(x, kernel, conv):
    """A 2-D convolution of [B, H, W, C]."""
    sizes = zip(x.shape[1:3], kernel.shape, *conv[:2], conv.rhs_dilation)
    shape = [
        (size + sum(padding) - (taps - 1) * dilation - 1) // stride + 1
        for size, taps, stride, padding, dilation in sizes
    ]
    plain = conv.groups == 1 and conv.lhs_dilation == (1, 1)
    if plain and x.shape[0] * math.prod(shape) <= _FEW_POSITIONS:
        return _as_product(x, kernel, conv, shape)
    return _convolve(x, kernel, conv)


def _as_product(x, kernel, conv, shape):
    """A 2-D convolution as one matrix product of its patches."""
    x = jnp.pad(x, ((0, 0), *conv.padding, (0, 0)))
    starts = [
        range(0, taps * dilation, dilation)
        for taps, dilation in zip(kernel.shape, conv.rhs_dilation)
    ]
    ends = [(count - 1) * stride + 1 for count, stride in zip(shape, conv.strides)]
    patches = [
        lax.slice(
            x,
            (0, row, column, 0),
            (x.shape[0], row + ends[0], column + ends[1], x.shape[3]),
            (1, *conv.strides, 1),
        )
        for row, column in itertools.product(*starts)
    ]
    return lax.dot_general(
        jnp.concatenate(patches, axis=-1),
        kernel.reshape(-1, kernel.shape[-1]),
        (((3,), (0,)), ((), ())),
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve(x, kernel, conv):
    return _conv_general(x, kernel, conv, _NHWC)


@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(conv, primals, tangents):
    """Differentiates so that the transpose is a convolution in the fast layout.

    JAX transposes a convolution in x by reversing the kernel and swapping the names of
    its channel axes. Here the tangent is written with a kernel that is swapped in
    memory and in name, which is the same number; transposed, the names come out right,
    and the gradient is a convolution of the cotangent with
    `kernel[::-1, ::-1].swapaxes(2, 3)` in layout HWIO. Both steps are plain operations
    of JAX: forward mode, second derivatives and batching need nothing more.
    """
    x, kernel = primals
    dx, dkernel = tangents
    y = _convolve(x, kernel, conv)
    dy = []
    if not isinstance(dx, SymbolicZero):
        dy.append(_conv_general(dx, kernel.swapaxes(2, 3), conv, _SWAPPED))
    if not isinstance(dkernel, SymbolicZero):
        dy.append(_conv_general(x, dkernel, conv, _NHWC))
    return y, sum(dy[1:], dy[0]) if dy else jnp.zeros_like(y)


def _conv_general(x, kernel, conv, names):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=conv.strides,
        padding=conv.padding,
        lhs_dilation=conv.lhs_dilation,
        rhs_dilation=conv.rhs_dilation,
        dimension_numbers=names,
        feature_group_count=conv.groups,
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )
