"""Turns the core of a method into a transform of a network.

A core is a pure function `core(f, clip, target, *arrays, **settings) -> NamedTuple`,
where metrics and methods on a segmentation find further inputs among the settings.
`explainer` binds it to one network and its settings: what comes back is a pytree whose
leaves are the arrays of both, so that it passes through `jit` as an argument, and whose
call runs one module-level compiled function. The same method and settings on another
clip, target or network of the same shape therefore never compile twice.
"""

import dataclasses
import functools
import inspect
import operator
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import check_clip
from jaxattr._score import Network, check_score, num_classes
from jaxattr._warnings import (
    warn_of_negative,
    warn_of_prediction,
    warn_of_training_mode,
)
from jaxattr.program import Join, loops_explained, split, trace


def explainer(
    core: Callable[..., Any],
    f: Network,
    *arrays: Any,
    random: bool = False,
    single: bool = False,
    modules: bool = False,
    inputs: Mapping[str, Callable[[Any, Any], jax.Array]] | None = None,
    **settings: Any,
) -> Callable[..., Any]:
    """Binds a core to a network: the common part of every method.

    Args:
      core: `core(f, clip, target, *arrays, **settings)`, and `key=` when `random`, and
        every name of `inputs`. The `f` it gets is traced: calling it never runs the
        Python of the network again.
      f: any callable, one clip -> output. Array leaves of a callable pytree (NNX
        module, `Partial`, Equinox module) become arguments of the compiled function;
        arrays that a plain function closes over, or that an ordinary object holds,
        become constants of it and must not change.
      *arrays: numbers or arrays that are traced, so that new values do not recompile.
      random: whether the core needs a key.
      single: whether the clip must be one array [T, H, W, C].
      modules: whether the core looks at what Flax modules return, as taps.
      inputs: what the call takes after the target, in order: name ->
        `check(value, clip)`, which returns the array that the core gets or raises.
      **settings: static settings; array leaves in them are traced too. `score` is
        one of them.

    Returns:
      `explain(clip, target, *inputs, key=None)`, a `jax.tree_util.Partial`.

    Raises:
      TypeError: `f` is not callable, or has static leaves that cannot be hashed.
      ValueError: `score` is not known; from `explain`, a target out of range, a missing
        key, a clip of the wrong rank.
    """
    if not callable(f):
        raise TypeError(
            f"`f` must be callable, clip -> logits, got {type(f).__name__}."
        )
    check_score(settings["score"])
    # Counts out of NumPy are counts, not arrays to be traced.
    settings = {
        name: int(value) if isinstance(value, np.integer) else value
        for name, value in settings.items()
    }
    arrays = jax.tree.map(jnp.asarray, arrays)
    leaves, join = split((unbound(f), arrays, settings))
    try:
        hash(join)
    except TypeError as error:
        raise TypeError(
            f"`f` or a setting holds a static part that cannot be hashed: {error}. "
            "Make it an array, or wrap it in a function."
        ) from error
    # A NumPy array may change later: the transform keeps the values of this moment.
    values = [jnp.array(leaf) for leaf in leaves]
    score = settings["score"]
    name = None if callable(score) else score
    named = tuple((inputs or {}).items())
    explain = _Explain(core, join, name, random, single, modules, named)
    return jax.tree_util.Partial(explain, values)


@dataclasses.dataclass(frozen=True)
class _Explain:
    """The static half of a bound method: hashable, hence a key of the compile cache."""

    core: Callable[..., Any]
    join: Join  # values -> (f, arrays, settings)
    score: str | None  # Its name; None for a callable.
    random: bool
    single: bool
    modules: bool
    inputs: tuple[tuple[str, Callable[[Any, Any], jax.Array]], ...]

    def __call__(self, values, clip, target, *args, key=None, **named):
        clip = self._check_clip(clip)
        inputs = self._check_inputs(clip, args, named)
        key = self._check_key(key)
        watched = False
        if self.score is not None and isinstance(target, jax.core.Tracer):
            _check_traced_index(target)
            # A count of classes may not fit into a narrow type: 400 in uint8 is 144.
            if target.dtype.itemsize < 4:
                target = target.astype(jnp.int32)
        elif self.score is not None:
            target = _as_index(target)
            watched = not any(
                isinstance(leaf, jax.core.Tracer)
                for leaf in jax.tree.leaves((values, clip))
            )
            # Tracing alone tells K, and the call below finds this trace in the cache.
            zero = np.int32(0)
            probe = _run.eval_shape(self, watched, values, clip, zero, inputs, key)
            _check_range(target, probe[1].num_classes, self.score)
            target = np.int32(target)
        result, _, logits = _run(self, watched, values, clip, target, inputs, key)
        # Under a trace even concrete inputs give traced logits.
        if watched and not isinstance(logits, jax.core.Tracer):
            jax.block_until_ready(logits)  # Unlike the copy, it answers to Ctrl-C.
            warn_of_prediction(np.asarray(logits), int(target))
        negative = getattr(result, "negative", None)  # Of rules that take no such unit.
        if negative is not None and not isinstance(negative, jax.core.Tracer):
            warn_of_negative(float(negative))
        return result

    def _check_clip(self, clip):
        check_clip(clip)
        if self.single:
            shape = getattr(clip, "shape", None)
            if shape is None or len(shape) != 4:
                raise ValueError(
                    "`clip` must be one array [T, H, W, C], got "
                    f"{type(clip).__name__ if shape is None else tuple(shape)}."
                )
        return jax.tree.map(jnp.asarray, clip)

    def _check_inputs(self, clip, args, named):
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [inspect.Parameter(name, kind) for name, _ in self.inputs]
        try:
            given = inspect.Signature(names).bind(*args, **named).arguments
        except TypeError as error:
            wanted = "`, `".join(["clip", "target", *(name for name, _ in self.inputs)])
            raise TypeError(f"the call takes `{wanted}`: {error}.") from None
        return {name: check(given[name], clip) for name, check in self.inputs}

    def _check_key(self, key):
        if not self.random:
            return None
        check_key(key)
        return key


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Head:
    """What tracing learnt of the output; travels as structure, not as data."""

    num_classes: int | None


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(explain, watched, values, clip, target, inputs, key):
    f, arrays, settings = explain.join(values)
    network = trace(f, clip, modules=explain.modules)
    warn_of_training_mode(f, network.jaxpr)
    head = _Head(num_classes(network.output, explain.score))
    if explain.random:
        settings = {**settings, "key": key}
    with loops_explained(network):
        result = explain.core(network, clip, target, *arrays, **inputs, **settings)
    return result, head, network(clip) if watched else None


def check_key(key: Any) -> None:
    """Raises ValueError for a missing key, TypeError for one that is not typed."""
    if key is None:
        raise ValueError(
            "`key` is missing: this method is random; pass key=jax.random.key(0)."
        )
    if not jnp.issubdtype(getattr(key, "dtype", None), jax.dtypes.prng_key):
        raise TypeError(
            f"`key` must be a typed key such as jax.random.key(0), got {key!r}."
        )


def unbound(f: Any) -> Any:
    """Lets the weights behind a bound method be leaves, as those of a module are.

    A method hashes by the identity of its object: changed weights would be explained
    by the program, and the constants, compiled before.
    """
    if isinstance(f, types.MethodType) and not jax.tree_util.all_leaves([f.__self__]):
        return jax.tree_util.Partial(f.__func__, f.__self__)
    return f


def as_pytree(method: Any) -> Any:
    """Lets the arrays in a `functools.partial` be leaves, and equal ones be equal."""
    if isinstance(method, tuple):
        return tuple(map(as_pytree, method))
    if not isinstance(method, functools.partial):
        return method
    given = jax.tree.map(
        lambda v: v.item() if isinstance(v, np.generic) else v,
        (method.args, method.keywords),
    )
    return jax.tree_util.Partial(method.func, *given[0], **given[1])


def _as_index(target):
    if isinstance(target, (bool, np.bool_)):
        raise TypeError("`target` must be a class index, got a bool.")
    try:
        return operator.index(target)
    except TypeError:
        raise TypeError(
            f"`target` must be one integer class index, got {target!r}."
        ) from None


def _check_traced_index(target):
    if not jnp.issubdtype(target.dtype, jnp.integer) or target.ndim:
        raise TypeError(
            "`target` must be one integer class index, got "
            f"{target.dtype}{list(target.shape)}; for many clips use jax.vmap."
        )


def _check_range(target, count, score):
    if not 0 <= target < count:
        raise ValueError(
            f"`target` must be in 0..{count - 1} for score={score!r} on {count} "
            f"classes, got {target}."
        )
