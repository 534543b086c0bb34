"""Traces a network once, into a program that methods may call and differentiate.

A method calls its network many times: at samples, inside a `scan`, under `grad` and
`vmap`. The network's Python runs once here; what methods see is the traced program,
with its convolutions folded where that is faster.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxattr.program._conv import fold_rule
from jaxattr.program._interpreter import Rule, evaluate


class Traced:
    """A network as a traced program: a function of one clip, weights bound.

    Calling it neither runs the network's Python again nor re-evaluates the program
    equation by equation: it is one inner `jit`, which XLA inlines at no cost. It
    composes with `grad`, `vmap`, `jit` and `scan`, but belongs to the JAX trace in
    which it was made: do not return it from a jitted function.

    Attributes:
      clip: pytree of `jax.ShapeDtypeStruct`: the clip it takes.
      output: pytree of `jax.ShapeDtypeStruct`: what the network returns.
      jaxpr: the program as traced, before any rule.
    """

    def __init__(self, f: Callable[[Any], Any], clip: Any, rule: Rule):
        arrays, join = split(f)
        program, self.output = jax.make_jaxpr(
            lambda arrays, clip: join(arrays)(clip), return_shape=True
        )(arrays, clip)
        self.jaxpr = program.jaxpr
        self.clip = jax.tree.map(_struct, clip)
        self._weights = [*program.consts, *arrays]
        num_consts = len(program.consts)

        @jax.jit
        def network(weights, clip):
            args = [*weights[num_consts:], *jax.tree.leaves(clip)]
            results = evaluate(program.jaxpr, weights[:num_consts], args, rule)
            return jax.tree.unflatten(jax.tree.structure(self.output), results)

        self._network = network

    def __call__(self, clip: Any) -> Any:
        """Evaluates the network on a clip of the traced shapes and dtypes."""
        got = jax.tree.map(_struct, clip)
        if got != self.clip:
            raise ValueError(
                f"`clip` must be like the one the network was traced with: "
                f"{_describe(self.clip)}, got {_describe(got)}."
            )
        return self._network(self._weights, clip)


def trace(f: Callable[[Any], Any], clip: Any, *, fold: bool | None = None) -> Traced:
    """Traces a network at one clip, running its Python exactly once.

    Args:
      f: network, a callable pytree: clip -> output, both pytrees of arrays.
      clip: pytree of arrays (traced ones too) or of `jax.ShapeDtypeStruct`.
      fold: rewrite 3-D convolutions as 2-D ones, see `fold_convs`; None does so when
        the default backend is a CPU.

    Returns:
      The network as a function of one clip like this one.

    Raises:
      TypeError: `f` is not callable.
      ValueError: from the result, a clip of another structure, shape or dtype.
    """
    if not callable(f):
        raise TypeError(f"`f` must be a callable network, got {type(f).__name__}.")
    if fold is None:
        fold = jax.default_backend() == "cpu"
    return Traced(f, clip, fold_rule if fold else _keep)


class Join(NamedTuple):
    """Puts array leaves back into the callable pytree they came from; hashable."""

    tree: Any
    static: tuple[Any, ...]  # The other leaves; None where an array was.
    is_array: tuple[bool, ...]
    # Equality of a PyTreeDef ignores the classes that `register_dataclass` registered:
    # without this, two networks of equal structure would share one compiled program.
    types: tuple[Any, ...]

    def __call__(self, arrays: Sequence[Any]) -> Callable[..., Any]:
        """Rebuilds the callable around the same or other arrays."""
        arrays = iter(arrays)
        pairs = zip(self.is_array, self.static, strict=True)
        leaves = [next(arrays) if here else leaf for here, leaf in pairs]
        return jax.tree.unflatten(self.tree, leaves)


def split(f: Callable[..., Any]) -> tuple[list[Any], Join]:
    """Splits a callable pytree into its array leaves and the rest.

    Array leaves can then be arguments of a trace: no weight becomes a constant of the
    program, and the module that runs is a fresh copy. A closed-over NNX module would
    refuse to change its state (the count of a generator) under the trace.
    """
    leaves, tree = jax.tree.flatten(f)
    types = (jax.Array, np.ndarray, np.generic)
    is_array = tuple(isinstance(leaf, types) for leaf in leaves)
    static = tuple(None if a else leaf for a, leaf in zip(is_array, leaves))
    arrays = [leaf for a, leaf in zip(is_array, leaves) if a]
    kinds = tuple(map(type, static))  # 1 == True == 1.0, and yet not the same.
    return arrays, Join(tree, static, is_array, (_node_types(tree), kinds))


def _node_types(tree):
    data = tree.node_data()
    return (data and data[0], *map(_node_types, tree.children()))


def _keep(eqn, values):
    return None


def _struct(leaf):
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    aval = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def _describe(tree):
    shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree)]
    return ", ".join(shapes) + f" in {jax.tree.structure(tree)}"
