"""Names the outputs of Flax modules while a network is traced, without touching it."""

import contextlib
import functools
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Jaxpr

from jaxattr.program._facts import bodies
from jaxattr.program._taps import MODULE

_PATH = re.compile(MODULE + "([^/()]+)")
_LOCK = threading.RLock()  # Classes are patched for all threads.


@contextlib.contextmanager
def named_modules(f: Any) -> Iterator[None]:
    """While it lasts, what a Flax module of `f` returns is named by its path.

    So is the scope of what it does, for `module_paths`.

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


def module_paths(jaxpr: Jaxpr, around: str = "") -> dict[int, str]:
    """By id of an equation, the path of the innermost module that evaluates it.

    Args:
      jaxpr: traced under `named_modules`.
      around: the path for what no module evaluates.
    """
    found = {}
    for eqn in jaxpr.eqns:
        # The scopes of a body are those within it.
        path = [around, *_PATH.findall(str(eqn.source_info.name_stack))][-1]
        found[id(eqn)] = path
        for body in bodies(eqn):
            found |= module_paths(body, path)
    return found


def without_paths(scope: str) -> str:
    """The scopes that are not those of `named_modules`."""
    return "/".join(part for part in scope.split("/") if not part.startswith(MODULE))


def _scope(path):
    return jax.named_scope(MODULE + path) if path else contextlib.nullcontext()


def _linen(call, args, kwargs, context):
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    path = ".".join(context.module.path)
    with _scope(path):
        return _named(call(*args, **kwargs), path)


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
        path = paths.get(id(self))
        try:
            with _scope(path):
                return _named(call(self, *args, **kwargs), path)
        finally:
            running.discard(id(self))

    return wrapper


def _named(result, path):
    is_array = isinstance(result, jax.Array) and result.ndim > 0
    return checkpoint_name(result, MODULE + path) if path and is_array else result
