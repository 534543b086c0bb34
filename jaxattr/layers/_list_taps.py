"""What can be looked at inside a network."""

from typing import Any, NamedTuple

from jaxattr._clip import check_clip
from jaxattr._score import Network
from jaxattr._tap import place
from jaxattr.program import trace, with_attention


class Tap(NamedTuple):
    """A named value inside a network.

    Attributes:
      name: what methods take as `layer`.
      shape: as the network has it, with a leading axis of steps inside a `scan`.
      dtype: name of it.
      stride: voxels between cells in time, height and width; None for an axis on
        which it has no cells, or that was lost on the way.
      offset: voxel at the centre of the first cell, likewise; the first voxel is 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    stride: tuple[float | None, ...]
    offset: tuple[float | None, ...]


def list_taps(f: Network, clip: Any) -> tuple[Tap, ...]:
    """Lists the values of a network that methods can look at, in order of evaluation.

    These are values that its author named by `jax.ad_checkpoint.checkpoint_name`, and
    what the Flax modules in it return, by their path ("layer4.0.conv1"; "path#0" and
    "path#1" if a module is called twice), and attention maps ("attention_map#0"), which
    are for `knock_out`. Not seen are NNX modules that a plain function closes over or
    that a transformation makes anew, and whatever happens inside a `cond`, a
    `while_loop` or a `custom_vjp`.

    Args:
      f: network, one clip -> output.
      clip: [T, H, W, C] or a pytree of arrays (or of `jax.ShapeDtypeStruct`); its
        values do not matter.

    Returns:
      One `Tap` for each; nothing is computed.

    Raises:
      ValueError: a name that was given twice; both places are shown.
      TypeError: a clip that is not floating point.
    """
    check_clip(clip)
    network = with_attention(trace(f, clip, modules=True))
    taps = []
    for name, (value, _) in network.tap_axes().items():
        axes = place(network, name)
        stride = tuple(axis and axis.stride for axis in axes)
        offset = tuple(axis and axis.offset for axis in axes)
        taps.append(Tap(name, value.shape, value.dtype.name, stride, offset))
    return tuple(taps)
