"""Calls of Python functions on the host from inside a traced program.

All run on one thread of their own, one after another: functions that are not made for
threads stay safe when several programs or devices are at work, and libraries that keep
a pool of threads for each thread that calls them (OpenMP, hence torch) keep one.
"""

import concurrent.futures
from collections.abc import Callable

import jax
import numpy as np

try:
    from jax.experimental.buffer_callback import buffer_callback
except ImportError:  # It is experimental.
    buffer_callback = None

_WORKER = concurrent.futures.ThreadPoolExecutor(1, "jaxattr-host")


def call(
    function: Callable[..., np.ndarray],
    result: jax.ShapeDtypeStruct,
    *args: jax.Array,
) -> jax.Array:
    """Calls a pure function of NumPy arrays when the program runs.

    Under `vmap` the arguments have further leading axes, the same for all, and so must
    the result.

    Args:
      function: must not call JAX, which may wait for the program that calls. Its
        arguments are copies, which it may change.
      result: shape, without these axes, and dtype of what it returns.
      *args: arrays.
    """

    def run(*values):
        copies = [np.array(value) for value in values]
        return np.asarray(_WORKER.submit(function, *copies).result(), result.dtype)

    def fill(context, out, *values):
        np.asarray(out)[...] = run(*map(np.asarray, values))

    def anywhere(*args):
        return jax.pure_callback(run, result, *args, vmap_method="broadcast_all")

    # pure_callback puts its arguments on a device first. On a machine of one core that
    # waits for the thread which the callback holds, once a program is started without
    # waiting for it (jax-ml/jax#24255): on a CPU its memory is read directly.
    if buffer_callback is None:
        return anywhere(*args)
    directly = buffer_callback(fill, result, vmap_method="broadcast_all")
    return jax.lax.platform_dependent(*args, cpu=directly, default=anywhere)
