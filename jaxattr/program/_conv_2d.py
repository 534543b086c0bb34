"""One 2-D convolution, written so that a CPU runs it and its gradient at full speed.

XLA:CPU has a fast path for convolutions in layout NHWC x HWIO and for nothing else. The
input gradient misses it inside a loop: JAX asks for the reversed kernel with its
channel axes swapped by name only, XLA hoists the reversal out of the loop, and what is
left has layout 01oi. And even the fast path packs its patches, which costs most where
the outputs are few: in the gradient of a layer that widens. The gradient of a product
of patches packs nothing, and image by image it stays in cache.
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

# Positions of the output up to which one product of all patches is fastest, and up to
# which the patches of one image fit a cache. Measured on R(2+1)D-18 and R3D-18.
_FEW_POSITIONS = 2048
_ONE_IMAGE = 4096
_NHWC = ("NHWC", "HWIO", "NHWC")
_SWAPPED = ("NHWC", "HWOI", "NHWC")


class Conv(NamedTuple):
    """The settings of one convolution, one entry per spatial axis; hashable."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int
    precision: Any
    dtype: Any  # Of the result; None for that of the operands.

    @property
    def in_space(self) -> "Conv":
        """The settings without those of the first axis."""
        return Conv(*(setting[1:] for setting in self[:4]), *self[4:])

    @property
    def plain(self) -> bool:
        """Whether it has no groups and no spread input: a product of patches does."""
        return self.groups == 1 and set(self.lhs_dilation) == {1}


def conv_2d(x, kernel, conv):
    """A 2-D convolution of [B, H, W, C] with a kernel [H, W, C, O]."""
    shape = _output_shape(x, kernel, conv)
    if conv.plain and x.shape[0] * math.prod(shape) <= _FEW_POSITIONS:
        return product_of_patches(x, kernel, conv)
    return _convolve(x, kernel, conv)


def product_of_patches(x, kernel, conv):
    """A plain 2-D convolution as one matrix product."""
    x = padded(x, [(0, 0, 0), *((*edges, 0) for edges in conv.padding), (0, 0, 0)])
    starts = [
        range(0, taps * dilation, dilation)
        for taps, dilation in zip(kernel.shape[:2], conv.rhs_dilation)
    ]
    shape = _output_shape(x, kernel, conv._replace(padding=((0, 0), (0, 0))))
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
        lax.concatenate(patches, 3),
        kernel.reshape(-1, kernel.shape[-1]),
        (((3,), (0,)), ((), ())),
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )


def padded(x, edges):
    """Zeros, or crops, on every axis: (before, behind, between)."""
    # Operations of `lax` and not of `jnp` here: a call of these is traced thrice.
    return lax.pad(x, np.zeros((), x.dtype), edges) if any(map(any, edges)) else x


def _output_shape(x, kernel, conv):
    sizes = zip(x.shape[1:3], kernel.shape, *conv[:2], conv.rhs_dilation)
    return [
        (size + sum(padding) - (taps - 1) * dilation - 1) // stride + 1
        for size, taps, stride, padding, dilation in sizes
    ]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve(x, kernel, conv):
    return _conv_general(x, kernel, conv, _NHWC)


@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(conv, primals, tangents):
    """Writes the tangent in x so that its transpose, the gradient, is fast.

    Both ways to write it are plain operations of JAX: forward mode, second derivatives
    and batching need nothing more.
    """
    x, kernel = primals
    dx, dkernel = tangents
    y = _convolve(x, kernel, conv)
    dy = []
    if not isinstance(dx, SymbolicZero):
        dy.append(_tangent(dx, kernel, conv))
    if not isinstance(dkernel, SymbolicZero):
        dy.append(_conv_general(x, dkernel, conv, _NHWC))
    return y, sum(dy[1:], dy[0]) if dy else jnp.zeros_like(y)


def _tangent(dx, kernel, conv):
    """The convolution of `dx`, image by image as a product where one fits a cache.

    Elsewhere the kernel is swapped in memory and in name, which is the same number;
    transposed, the names come out right, and the gradient is a convolution of the
    cotangent with `kernel[::-1, ::-1].swapaxes(2, 3)` in layout HWIO.
    """
    if conv.plain and math.prod(_output_shape(dx, kernel, conv)) <= _ONE_IMAGE:
        return lax.map(lambda x: product_of_patches(x[None], kernel, conv)[0], dx)
    return _conv_general(dx, kernel.swapaxes(2, 3), conv, _SWAPPED)


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
