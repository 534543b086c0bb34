"""Names the outputs of Flax modules while a network is traced, without touching it."""

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from jaxattr.program._taps import MODULE

_LOCK = threading.RLock()  # Classes are patched for all threads.


@contextlib.contextmanager
def named_modules(f: Any) -> Iterator[None]:
    """While it lasts, what a Flax module of `f` returns is named by its path.

    Linen modules are seen by their own interceptor, NNX modules by a wrapper around
    `__call__` of their classes, which is taken off again. Not seen are modules that a
    plain function closes over in NNX, those that a transformation makes anew (the
    cell of an `nnx.RNN`), and outputs that are not one array.
    """
    with contextlib.ExitStack() as stack:
        if "flax.linen" in sys.modules:
            linen = sys.modules["flax.linen"]
            stack.enter_context(linen.intercept_methods(_linen))
        if "flax.nnx" in sys.modules:
            stack.enter_context(_nnx(f, sys.modules["flax.nnx"]))
        yield


def _linen(call, args, kwargs, context):
    result = call(*args, **kwargs)
    path = ".".join(context.module.path)
    return _named(result, path) if context.method_name == "__call__" else result


@contextlib.contextmanager
def _nnx(f, nnx):
    leaves = jax.tree.leaves(f, is_leaf=lambda node: isinstance(node, nnx.Module))
    roots = [leaf for leaf in leaves if isinstance(leaf, nnx.Module)]
    modules = [pair for root in roots for pair in nnx.iter_modules(root)]
    paths = {id(module): ".".join(map(str, path)) for path, module in modules}
    with _LOCK:  # From the first look: another thread's wrapper is not the class's own.
        kinds = {type(module) for _, module in modules if callable(module)}
        classes = {cls: vars(cls).get("__call__") for cls in kinds}
        running: set[int] = set()  # A method may call that of its base class.
        wrapped = {cls: _wrapped(cls.__call__, paths, running) for cls in classes}
        try:
            for cls, wrapper in wrapped.items():
                cls.__call__ = wrapper
            yield
        finally:
            for cls, own in classes.items():
                if own is None:
                    del cls.__call__
                else:
                    cls.__call__ = own


def _wrapped(call, paths, running):
    @functools.wraps(call)
    def wrapper(self, *args, **kwargs):
        if id(self) in running:
            return call(self, *args, **kwargs)
        running.add(id(self))
        try:
            return _named(call(self, *args, **kwargs), paths.get(id(self)))
        finally:
            running.discard(id(self))

    return wrapper


def _named(result, path):
    is_array = isinstance(result, jax.Array) and result.ndim > 0
    return checkpoint_name(result, MODULE + path) if path and is_array else result
