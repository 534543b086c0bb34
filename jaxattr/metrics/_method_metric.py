"""Metrics of a method rather than of one map: `metric(method, f)(clip, target, key=)`.

The common part of all of them: the arrays of the network and of the method's settings
are arguments of one module-level compiled function, so that another network of the same
structure, another clip, target or key never compiles again.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import widen
from jaxattr._explainer import as_pytree
from jaxattr.program import Join, split

Method = Callable[[Callable[..., Any]], Callable[..., Any]]


def method_metric(
    core: Callable[..., Any],
    method: Any,
    f: Any,
    *arrays: Any,
    random: bool = True,
    **settings: Any,
) -> Callable[..., Any]:
    """Binds the core of a metric to a method and a network.

    Args:
      core: `core(method, f, clip, target, *arrays, key, **settings) -> NamedTuple`,
        pure and traced.
      method: transform of a network, or a tuple of them; settings that a
        `functools.partial` holds are static, arrays among them traced.
      f: network, a callable pytree.
      *arrays: numbers or arrays that are traced.
      random: whether the metric itself draws, and so needs a key.
      **settings: static, hashable.

    Returns:
      `measure(clip, target, *, key) -> NamedTuple`, a `jax.tree_util.Partial`.

    Raises:
      TypeError: something that is not callable, or cannot be hashed.
    """
    for one in method if isinstance(method, tuple) else (method,):
        if not callable(one):
            raise TypeError(
                "`method` must be a transform such as jaxattr.saliency, or a "
                f"functools.partial of one, got {type(one).__name__}."
            )
    if not callable(f):
        raise TypeError(
            f"`f` must be callable, clip -> logits, got {type(f).__name__}."
        )
    arrays = jax.tree.map(jnp.asarray, arrays)
    leaves, join = split((as_pytree(method), f, arrays))
    measure = _Measure(core, join, random, tuple(sorted(settings.items())))
    try:
        hash(measure)
    except TypeError as error:
        raise TypeError(
            f"`method`, `f` or a setting cannot be hashed: {error}."
        ) from error
    return jax.tree_util.Partial(measure, [jnp.array(leaf) for leaf in leaves])


def attribute(explain: Callable[..., Any], clip: Any, target: Any, key: Any):
    """The values of an explanation, in float32 or wider."""
    return widen(explain(clip, target, key=key).values)


@dataclasses.dataclass(frozen=True)
class _Measure:
    """The static half of a bound metric: hashable, hence a key of the compile cache."""

    core: Callable[..., Any]
    join: Join  # values -> (method, f, arrays)
    random: bool
    settings: tuple[tuple[str, Any], ...]

    def __call__(self, values, clip, target, *, key=None):
        if self.random and not jnp.issubdtype(
            getattr(key, "dtype", None), jax.dtypes.prng_key
        ):
            raise ValueError(
                "`key` must be a typed key such as jax.random.key(0): this metric "
                f"draws at random, got {key!r}."
            )
        if getattr(clip, "ndim", None) != 4:
            raise ValueError(
                "`clip` must be one array [T, H, W, C], got "
                f"{getattr(clip, 'shape', type(clip).__name__)}; for many clips use "
                "jax.vmap."
            )
        clip = jnp.asarray(clip)

        def explain(values, clip, key):  # The target is concrete, and hence checked.
            methods, f, _ = self.join(values)
            methods = methods if isinstance(methods, tuple) else (methods,)
            return [m(f)(clip, target, key=key) for m in methods]

        for result in jax.eval_shape(explain, values, clip, key):
            if getattr(getattr(result, "values", None), "ndim", None) is None:
                raise TypeError(
                    "`method` must give explanations whose `values` are one array, got "
                    f"{type(result).__name__}."
                )
        if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
            target = np.int32(target)  # One type, one compilation.
        return _run(self, values, clip, target, key)


@functools.partial(jax.jit, static_argnums=0)
def _run(measure, values, clip, target, key):
    method, f, arrays = measure.join(values)
    settings = dict(measure.settings)
    return measure.core(method, f, clip, target, *arrays, key=key, **settings)
