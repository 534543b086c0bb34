"""Where in the clip the cells of a layer lie, read from the program.

Every axis of a value that goes back to an axis of the clip has a stride and an offset,
which convolutions, pools, slices, pads and reshapes change. The centre of what a cell
sees is in general not where an even division of the clip puts it: those of a stride-2
convolution with a kernel of 3 and padding of 1 begin at the first pixel.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from jaxattr.program._facts import bodies, opened
from jaxattr.program._taps import Taps


class Axis(NamedTuple):
    """Cell i is centred at `offset + i * stride` on an axis of the clip.

    Attributes:
      which: axis of the clip: 0 for time, 1 for height, 2 for width.
      stride: voxels from one cell to the next.
      offset: voxel at the centre of the first cell; the first voxel is 0.
    """

    which: int
    stride: float = 1.0
    offset: float = 0.0

    def windowed(
        self, size: int, step: int, low: int, *, dilation: int = 1, base: int = 1
    ) -> "Axis":
        """After a window of `size` moved by `step`, `low` cells of padding before."""
        unit = self.stride / base
        centre = (size - 1) * dilation / 2 - low
        return Axis(self.which, unit * step, self.offset + unit * centre)


Axes = tuple[Axis | None, ...]
See = Callable[[JaxprEqn, list[Axes]], None]


def tap_axes(
    jaxpr: Jaxpr, args: Sequence[Axes], see: See = lambda eqn, axes: None
) -> dict[str, tuple[jax.ShapeDtypeStruct, Axes]]:
    """Shape, dtype and axes of every tap, in order of evaluation.

    Args:
      jaxpr: the program.
      args: the axes of its arguments.
      see: called for every equation with the axes of its operands, in bodies too.

    Raises:
      ValueError: a name that the model's author gave twice.
    """
    taps = Taps.of(jaxpr, {})
    _walk(jaxpr, args, taps, see)
    return taps.found


def _walk(jaxpr, args, taps, see):
    known = dict(zip(jaxpr.invars, args, strict=True))

    def read(atom):
        here = None if isinstance(atom, Literal) else known.get(atom)
        return _none(atom) if here is None else here

    for eqn in jaxpr.eqns:
        axes = [read(atom) for atom in eqn.invars]
        name = eqn.primitive.name
        see(eqn, axes)
        if name in _ENTER:
            results = _ENTER[name](eqn, axes, taps, see)
        elif name in _DERIVE:
            results = _DERIVE[name](eqn, axes)
        elif name in _MOVES:
            results = [_none(var) for var in eqn.outvars]
        else:
            results = [_merged(eqn, var, axes) for var in eqn.outvars]
        if name == "name":
            aval = eqn.outvars[0].aval
            struct = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
            taps.at(eqn.params["name"], (struct, results[0]))
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _none(atom):
    return (None,) * len(getattr(atom.aval, "shape", ()))


def _merged(eqn, var, axes):
    """Cell by cell: axes of the operands of that size; of other shapes nothing."""
    shape = var.aval.shape
    merged = list(_none(var))
    for atom, given in zip(eqn.invars, axes):
        other = atom.aval.shape
        if len(other) != len(shape) or any(
            a not in (1, b) for a, b in zip(other, shape)
        ):
            continue
        for i, axis in enumerate(given):
            if merged[i] is None and other[i] == shape[i]:
                merged[i] = axis
    return tuple(merged)


def _conv(eqn, axes):
    params, kernel = eqn.params, eqn.invars[1].aval.shape
    numbers = params["dimension_numbers"]
    result = list(_none(eqn.outvars[0]))
    result[numbers.out_spec[0]] = axes[0][numbers.lhs_spec[0]]
    for i, step in enumerate(params["window_strides"]):
        axis = axes[0][numbers.lhs_spec[2 + i]]
        if axis is not None:
            result[numbers.out_spec[2 + i]] = axis.windowed(
                kernel[numbers.rhs_spec[2 + i]],
                step,
                params["padding"][i][0],
                dilation=params["rhs_dilation"][i],
                base=params["lhs_dilation"][i],
            )
    return [tuple(result)]


def _window(eqn, axes):
    params = eqn.params
    ones = (1,) * len(params["window_dimensions"])
    columns = zip(
        axes[0],
        params["window_dimensions"],
        params["window_strides"],
        params["padding"],
        params.get("window_dilation", ones),
        params.get("base_dilation", ones),
    )
    result = tuple(
        axis and axis.windowed(size, step, low, dilation=dilation, base=base)
        for axis, size, step, (low, _), dilation, base in columns
    )
    return [result for _ in eqn.outvars]


def _reduce(eqn, axes):
    gone = eqn.params["axes"]
    kept = tuple(axis for i, axis in enumerate(axes[0]) if i not in gone)
    return [kept for _ in eqn.outvars]


def _broadcast(eqn, axes):
    result, var = list(_none(eqn.outvars[0])), eqn.invars[0].aval
    for i, to in enumerate(eqn.params["broadcast_dimensions"]):
        if var.shape[i] == eqn.outvars[0].aval.shape[to]:
            result[to] = axes[0][i]
    return [tuple(result)]


def _transpose(eqn, axes):
    return [tuple(axes[0][i] for i in eqn.params["permutation"])]


def _squeeze(eqn, axes):
    gone = eqn.params["dimensions"]
    return [tuple(axis for i, axis in enumerate(axes[0]) if i not in gone)]


def _slice(eqn, axes):
    starts = eqn.params["start_indices"]
    steps = eqn.params["strides"] or (1,) * len(starts)
    moved = zip(axes[0], starts, steps)
    return [tuple(axis and axis.windowed(1, n, -at) for axis, at, n in moved)]


def _pad(eqn, axes):
    moved = zip(axes[0], eqn.params["padding_config"])
    return [
        tuple(
            axis and axis.windowed(1, 1, low, base=inner + 1)
            for axis, (low, _, inner) in moved
        )
    ]


def _reshape(eqn, axes):
    """Axes that stay, axes of one cell that come and go, and axes cut into blocks."""
    old, new = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    result, i, j = [None] * len(new), 0, 0
    while i < len(old) and j < len(new):
        if old[i] == 1 and new[j] != 1:
            i += 1
        elif new[j] == 1 and old[i] != 1:
            j += 1
        elif old[i] == new[j]:
            result[j] = axes[0][i]
            i, j = i + 1, j + 1
        else:
            a, b, first, outer = old[i], new[j], i, j
            while a != b:
                if a < b:
                    i += 1
                    a *= old[i]
                else:
                    j += 1
                    b *= new[j]
            axis = axes[0][first]
            if first == i and axis is not None:  # One axis, cut into blocks.
                size = old[i] // new[outer]
                result[outer] = axis.windowed(size, size, 0)
            i, j = i + 1, j + 1
    return [tuple(result)]


def _dot(eqn, axes):
    (left, right), (both_left, both_right) = eqn.params["dimension_numbers"]
    batch = [a or b for a, b in zip(*(
        [axes[k][i] for i in dims] for k, dims in enumerate((both_left, both_right))
    ))]  # fmt: skip
    free = [
        axis
        for k, used in enumerate(((*left, *both_left), (*right, *both_right)))
        for i, axis in enumerate(axes[k])
        if i not in used
    ]
    return [(*batch, *free)]


def _along(eqn, axes):
    """Joined or cut along one axis, of which nothing is known then."""
    name = "dimension" if "dimension" in eqn.params else "axis"
    gone = eqn.params[name]
    kept = tuple(None if i == gone else axis for i, axis in enumerate(axes[0]))
    return [kept for _ in eqn.outvars]


def _rev(eqn, axes):
    shape = eqn.invars[0].aval.shape
    return [
        tuple(
            axis._replace(
                stride=-axis.stride, offset=axis.offset + axis.stride * (shape[i] - 1)
            )
            if axis is not None and i in eqn.params["dimensions"]
            else axis
            for i, axis in enumerate(axes[0])
        )
    ]


def _body(eqn, axes, taps, see):
    (body,) = bodies(eqn)
    return _walk(body, axes, taps, see)


def _custom(eqn, axes, taps, see):
    program = eqn.params.get("call_jaxpr")
    if program is None:
        return [_merged(eqn, var, axes) for var in eqn.outvars]
    return _walk(opened(program)[0], axes, Taps.none(), see)


def _scan(eqn, axes, taps, see):
    first = eqn.params["num_consts"]
    last = first + eqn.params["num_carry"]
    (body,) = bodies(eqn)
    steps = next((given[0] for given in axes[last:] if given[0] is not None), None)
    inner = taps.inside({})
    rows = [given[1:] for given in axes[last:]]
    results = _walk(body, [*axes[:last], *rows], inner, see)
    length = eqn.params["length"]
    stacked = {
        key: (
            jax.ShapeDtypeStruct((length, *struct.shape), struct.dtype),
            (steps, *found),
        )
        for key, (struct, found) in inner.found.items()
    }
    taps.leave(stacked, body)
    count = last - first
    return [*results[:count], *((steps, *given) for given in results[count:])]


def _unknown(eqn, axes, taps, see):
    return [_none(var) for var in eqn.outvars]


_ENTER = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call"), _body),
    **dict.fromkeys(("remat2", "checkpoint", "custom_vmap_call"), _body),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call"), _custom),
    "scan": _scan,
    "while": _unknown,
    "cond": _unknown,
}
# They move cells to where only values say.
_MOVES = frozenset(
    ("gather", "dynamic_slice", "dynamic_update_slice", "scatter", "sort", "fft")
)
_DERIVE = {
    "conv_general_dilated": _conv,
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "slice": _slice,
    "pad": _pad,
    "reshape": _reshape,
    "dot_general": _dot,
    "rev": _rev,
    **dict.fromkeys(("concatenate", "split"), _along),
    **dict.fromkeys(
        [f"reduce_{kind}" for kind in ("sum", "max", "min", "prod", "and", "or")],
        _reduce,
    ),
    **dict.fromkeys(
        ["reduce_window", *(f"reduce_window_{kind}" for kind in ("sum", "max", "min"))],
        _window,
    ),
}
