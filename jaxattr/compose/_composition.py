"""Methods made of methods: the common part of all of them.

A method is `f -> explain`; so is what a composition makes of one, which can therefore
be composed again. The arrays of the network and of the settings are arguments of one
module-level compiled function, as in `jaxattr._explainer`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._explainer import as_pytree, unbound
from jaxattr.program import Join, split

Method = Callable[..., Callable[..., Any]]


class Bound(NamedTuple):
    """A method, and the network that it is to explain.

    Attributes:
      method: `method(f, **settings) -> explain`.
      f: the network.
      settings: what the user passed beside the network.
    """

    method: Method
    f: Callable[[Any], Any]
    settings: dict[str, Any]

    def explain(self, **settings: Any) -> Callable[..., Any]:
        """The transformed network, under further settings."""
        return self.method(self.f, **{**self.settings, **settings})


class Composition(NamedTuple):
    """What a composition does, both parts pure.

    Attributes:
      core: `core(bound, clip, target, *arrays, key, inputs, **settings) -> NamedTuple`.
      check: `check(bound, clip, target, *arrays, key, inputs, **settings)`, called
        before with the target as it is: what the method checks at once is checked.
    """

    core: Callable[..., Any]
    check: Callable[..., Any]


def composed(
    composition: Composition, method: Method, *arrays: Any, **settings: Any
) -> Method:
    """Makes a method of a method.

    Args:
      composition: see there.
      method: transform such as `jaxattr.saliency`, or a `functools.partial` of one.
      *arrays: numbers or arrays that are traced.
      **settings: static, hashable.

    Raises:
      TypeError: `method` is not callable.
    """
    if not callable(method):
        raise TypeError(
            "`method` must be a transform such as jaxattr.saliency, or a "
            f"functools.partial of one, got {type(method).__name__}."
        )
    arrays = tuple(map(jnp.asarray, arrays))
    return jax.tree_util.Partial(
        _bind, composition, as_pytree(method), arrays, settings
    )


def _bind(composition, method, arrays, settings, f, **given):
    if not callable(f):
        raise TypeError(
            f"`f` must be callable, clip -> logits, got {type(f).__name__}."
        )
    bound = Bound(method, unbound(f), given)
    leaves, join = split((bound, arrays, settings))
    explain = _Explain(composition, join)
    try:
        hash(explain)
    except TypeError as error:
        raise TypeError(
            f"`method`, `f` or a setting holds what cannot be hashed: {error}."
        ) from error
    return jax.tree_util.Partial(explain, [jnp.array(leaf) for leaf in leaves])


@dataclasses.dataclass(frozen=True)
class _Explain:
    """The static half: hashable, hence a key of the compile cache."""

    composition: Composition
    join: Join  # values -> (bound, arrays, settings)

    def __call__(self, values, clip, target=None, *, key=None, **inputs):
        # The traces that this makes are those that the run needs: they are kept.
        check = functools.partial(self.apply, self.composition.check)
        jax.eval_shape(lambda v: check(v, clip, target, key, inputs), values)
        target = jax.tree.map(_narrow, target)  # One type, one compilation.
        return _run(self, values, clip, target, key, inputs)

    def apply(self, function, values, clip, target, key, inputs):
        bound, arrays, settings = self.join(values)
        return function(
            bound, clip, target, *arrays, key=key, inputs=inputs, **settings
        )


@functools.partial(jax.jit, static_argnums=0)
def _run(explain, values, clip, target, key, inputs):
    core = explain.composition.core
    return explain.apply(core, values, clip, target, key, inputs)


def _narrow(leaf):
    whole = isinstance(leaf, (int, np.integer)) and not isinstance(leaf, bool)
    return np.int32(leaf) if whole else leaf
