"""A network with its convolutions rewritten for the CPU: the same numbers, sooner."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxattr.program._trace import Join, split, trace


def fold_convs(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Rewrites the convolutions of a network as those that a CPU runs fast.

    The result computes the same function up to rounding. Of its 3-D convolutions,
    those that see one frame become 2-D with time as batch; those that see one pixel
    become 2-D over time and the pixels in a row; those that move by one frame become a
    product of the patches of one frame after the other; any other sees its frames side
    by side as channels. Their input gradients, and those of 2-D convolutions, are as
    fast inside `scan` and `while_loop` as outside. All derivatives work, forward mode
    too.

    Methods do this by themselves on a CPU; use it for your own gradients and training
    steps. It is measured on the CPU only: on a GPU or TPU, measure first. Left alone
    are 1-D convolutions, transposed ones in time, those with `batch_group_count`, and
    whatever a user's `custom_jvp` or `custom_vjp` encloses.

    Args:
      f: network, a callable pytree: clip -> output, both pytrees of arrays.

    Returns:
      A callable pytree like `f`, with the array leaves of `f` as its own, so that it
      may be an argument of `jit`. A call traces `f`: compile it with `jax.jit`.

    Raises:
      TypeError: `f` is not callable.
    """
    if not callable(f):
        raise TypeError(f"`f` must be a callable network, got {type(f).__name__}.")
    arrays, join = split(f)
    return jax.tree_util.Partial(_Folded(join), arrays)


class _Folded(NamedTuple):
    """The static half of a folded network: hashable, hence a key of jit's cache."""

    join: Join

    def __call__(self, arrays, clip):
        return trace(self.join(arrays), clip, fold=True)(clip)
