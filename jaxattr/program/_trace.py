"""Traces a network once, into a program that methods may call and differentiate.

A method calls its network many times: at samples, inside a `scan`, under `grad` and
`vmap`. The network's Python runs once here; what methods see is the traced program,
with its convolutions folded where that is faster.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn
from jax.interpreters.partial_eval import dce_jaxpr

from jaxattr._clip import narrow
from jaxattr.program._conv import fold_rule
from jaxattr.program._facts import See, fresh, infer
from jaxattr.program._geometry import Axes, Axis, tap_axes
from jaxattr.program._interpreter import Rule, evaluate, replay
from jaxattr.program._modules import named_modules
from jaxattr.program._outside import outside
from jaxattr.program._taps import Put, Taps, absence
from jaxattr.program._wide import lift, wide_params, widened


class Traced:
    """A network as a traced program: a function of one clip, weights bound.

    Calling it neither runs the network's Python again nor re-evaluates the program
    equation by equation: it is one inner `jit`, which XLA inlines at no cost. It
    composes with `grad`, `vmap`, `jit` and `scan`, but belongs to the JAX trace in
    which it was made: do not return it from a jitted function. Whatever looks inside
    raises ValueError where the network runs outside of JAX, as after `from_torch`.

    Attributes:
      clip: pytree of `jax.ShapeDtypeStruct`: the clip it takes.
      output: pytree of `jax.ShapeDtypeStruct`: what the network returns.
      jaxpr: the program as traced, before any rule, without what its output does not
        depend on (a second head, say). Side effects stay.
    """

    def __init__(self, f: Callable[[Any], Any], clip: Any, rule: Rule, modules: bool):
        arrays, join = split(f)

        def network(arrays, clip):
            f = join(arrays)
            with named_modules(f) if modules else contextlib.nullcontext():
                return f(clip)

        with _explained():
            traced = jax.make_jaxpr(network, return_shape=True)(arrays, clip)
        program, self.output = traced
        self._written = program.jaxpr
        outputs = [True] * len(self._written.outvars)
        self.jaxpr, _ = dce_jaxpr(self._written, outputs, instantiate=True)
        self._outside = outside(self.jaxpr)
        self.clip = jax.tree.map(_struct, clip)
        self._weights = [*program.consts, *arrays]
        self._num_consts = len(program.consts)
        self._rule = rule
        self._network = jax.jit(lambda *args: self._evaluate(*args, rule, Taps.none()))

    def __call__(self, clip: Any) -> Any:
        """Evaluates the network on a clip of the traced shapes and dtypes."""
        self._check(clip)
        return self._network(self._weights, clip)

    def under(self, rule: Rule) -> Callable[[Any], Any]:
        """The network with a rule at every equation, before its own is asked."""
        self._check_inside()

        def network(clip):
            self._check(clip)
            rules = self._with(rule)
            return self._evaluate(self._weights, clip, rules, Taps.none())

        return network

    def widened(self, rule: Rule) -> Callable[[Any], Any]:
        """As `under`, for backward passes in float32 or wider.

        It takes a widened clip, and its values are those of the network on the clip
        itself, widened; see `jaxattr.program._wide`. A rule that remembers values may
        have a method `leaving`; see `evaluate`.
        """
        self._check_inside()

        def network(clip):
            self._check(narrow(clip, self.clip))
            return self._widely(self._weights, clip, rule, Taps.none())

        return network

    def carrying(self, leaves: Sequence[Any], rule: Rule) -> list[Any]:
        """Evaluates on other things than arrays, which the rule knows to handle.

        Args:
          leaves: pytrees in place of the leaves of the clip.
          rule: as in `widened`; it is asked about all that they meet.

        Returns:
          What stands in place of the leaves of the output.
        """
        self._check_inside()
        rules = self.wide(rule)
        return self._leaves(self._weights, leaves, rules, Taps.none(), lift=lift)

    def wide(self, rule: Rule) -> Rule:
        """What `widened` makes of a rule, for values that are lifted."""
        return self._with(widened(rule, self.run, self.apply))

    def tapped(
        self,
        clip: Any,
        inject: Mapping[str, jax.Array] | None = None,
        rule: Rule | None = None,
        wide: bool = False,
        put: Put = jnp.add,
    ) -> tuple[Any, dict[str, jax.Array]]:
        """Evaluates the network, and returns its output and every tap.

        Args:
          clip: of the traced shapes and dtypes.
          inject: name of a tap -> what meets it there.
          rule: as in `under`.
          wide: as in `widened`, the clip excepted: output and taps are widened.
          put: how it meets it, by addition or otherwise.

        Raises:
          ValueError: two values of one name, or another clip than that of the trace.
        """
        self._check_inside()
        self._check(clip)
        taps = Taps.of(self.jaxpr, inject or {}, put)
        rule = _keep if rule is None else rule
        if wide:
            output = self._widely(self._weights, clip, rule, taps)
        else:
            output = self._evaluate(self._weights, clip, self._with(rule), taps)
        return output, taps.found

    def survey(self, see: See) -> None:
        """Calls `see(eqn, facts)` for every equation, in order, without running it."""
        self._check_inside()
        facts = [fresh(active) for active in self._active]
        infer(self.jaxpr, facts, see, self._weights[: self._num_consts])

    def tap_axes(self) -> dict[str, tuple[jax.ShapeDtypeStruct, Axes]]:
        """The shape and dtype of every tap, and where on the clip each axis lies.

        Leaves of the clip of four axes are taken as [T, H, W, C].
        """
        self._check_inside()
        return tap_axes(self.jaxpr, self._axes)

    def absence(self, name: str) -> str:
        """What is to be said of a name that is none of `tap_axes`."""
        return absence(name, self._written, self.jaxpr)

    def operand_axes(self) -> dict[int, Axes]:
        """By id of an equation, where on the clip the axes of its first operand lie."""
        self._check_inside()
        found = {}
        tap_axes(
            self.jaxpr,
            self._axes,
            lambda eqn, axes: found.update({id(eqn): axes[0] if axes else ()}),
        )
        return found

    @property
    def _axes(self):
        leaves = jax.tree.leaves(self.clip)
        clip = [
            (*map(Axis, range(3)), None) if leaf.ndim == 4 else (None,) * leaf.ndim
            for leaf in leaves
        ]
        weights = self.jaxpr.invars[: -len(leaves)]
        none = [(None,) * len(getattr(var.aval, "shape", ())) for var in weights]
        return [*none, *clip]

    def run(self, eqn: JaxprEqn, values: Sequence[Any]) -> list[Any]:
        """Results of any equation without a body, on values of its own dtypes."""
        results = self._rule(eqn, list(values), [fresh(True) for _ in values])
        return replay(eqn, values, self.jaxpr) if results is None else results

    def apply(self, eqn: JaxprEqn, values: Sequence[Any]) -> list[Any]:
        """Results of an ordinary equation on other values, folded as the network is.

        These may be wider than its own.
        """
        eqn = eqn.replace(params=wide_params(eqn, values))
        results = self._rule(eqn, list(values), [fresh(True) for _ in values])
        if results is None:
            results = eqn.primitive.bind(*values, **eqn.params)
            results = results if eqn.primitive.multiple_results else [results]
        return results

    def _with(self, rule):
        def either(eqn, values, facts):
            results = rule(eqn, values, facts)
            return self._rule(eqn, values, facts) if results is None else results

        return either

    @property
    def _active(self):
        num_weights = len(self._weights) - self._num_consts
        return [False] * num_weights + [True] * len(jax.tree.leaves(self.clip))

    def _widely(self, weights, clip, rule, taps):
        leaving = getattr(rule, "leaving", None)
        return self._evaluate(
            weights, clip, self.wide(rule), taps, lift=lift, leaving=leaving
        )

    def _evaluate(self, weights, clip, rule, taps, **settings):
        results = self._leaves(weights, jax.tree.leaves(clip), rule, taps, **settings)
        return jax.tree.unflatten(jax.tree.structure(self.output), results)

    def _leaves(self, weights, leaves, rule, taps, **settings):
        consts, arrays = weights[: self._num_consts], weights[self._num_consts :]
        args, active = [*arrays, *leaves], self._active
        return evaluate(
            self.jaxpr, consts, args, rule, active=active, taps=taps, **settings
        )

    def _check_inside(self):
        if self._outside is not None:
            raise ValueError(self._outside)

    def _check(self, clip):
        got = jax.tree.map(_struct, clip)
        if got != self.clip:
            raise ValueError(
                f"`clip` must be like the one the network was traced with: "
                f"{_describe(self.clip)}, got {_describe(got)}."
            )


def trace(
    f: Callable[[Any], Any],
    clip: Any,
    *,
    fold: bool | None = None,
    modules: bool = False,
) -> Traced:
    """Traces a network at one clip, running its Python exactly once.

    Args:
      f: network, a callable pytree: clip -> output, both pytrees of arrays.
      clip: pytree of arrays (traced ones too) or of `jax.ShapeDtypeStruct`.
      fold: rewrite 3-D convolutions as 2-D ones, see `fold_convs`; None does so when
        the default backend is a CPU.
      modules: name the outputs of Flax modules, as taps.

    Returns:
      The network as a function of one clip like this one.

    Raises:
      TypeError: `f` is not callable, decides in Python on values, or closes over a
        module that changes its state.
      ValueError: from the result, a clip of another structure, shape or dtype.
    """
    if not callable(f):
        raise TypeError(f"`f` must be a callable network, got {type(f).__name__}.")
    if fold is None:
        fold = jax.default_backend() == "cpu"
    return Traced(f, clip, fold_rule if fold else _keep, modules)


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


@contextlib.contextmanager
def _explained():
    """Says of errors that users meet what to do about them."""
    try:
        yield
    except Exception as error:
        for name, start, said in _SAID:
            of_name = any(kind.__name__ == name for kind in type(error).__mro__)
            if of_name and str(error).startswith(start):
                raise TypeError(f"`f` {said}") from error
        raise


# What an error is called, how it begins, and what it is to the user. A trace has no
# values, neither of the clip nor of the weights of `f`.
_SAID = (
    (
        "TracerIntegerConversionError",
        "",
        "takes a value of the clip for a Python integer, as range() and the index of "
        "a list do, which a trace does not have: use jax.lax.fori_loop or jnp.take "
        "there.",
    ),
    (
        "TracerArrayConversionError",
        "",
        "gives values of the clip to NumPy, which a trace does not have: use the "
        "function of that name in jax.numpy, or jaxattr.from_host for a network that "
        "is not of JAX.",
    ),
    (
        "NonConcreteBooleanIndexError",
        "",
        "picks as many values of the clip as a mask has, which a trace does not know: "
        "use jnp.where, or the `where` of jnp.mean and jnp.sum, there.",
    ),
    (
        "ConcretizationTypeError",
        "",
        "decides in Python on values of the clip, which a trace does not have: use "
        "jnp.where or jax.lax.cond there (float() and .item() decide, too).",
    ),
    (
        "IndexError",
        "Slice entries must be static",
        "slices by values of the clip, which a trace does not have: use "
        "jax.lax.dynamic_slice there.",
    ),
    (
        "TypeError",
        "Shapes must be 1D sequences of concrete",
        "makes an array whose shape depends on values of the clip, which a trace does "
        "not have: use a fixed shape and jnp.where there.",
    ),
    (
        "TraceContextError",
        "",
        "closes over a Flax module that changes its state when called, as nnx.RNN does "
        "its random numbers. Pass the module itself, or "
        "jax.tree_util.Partial(lambda net, clip: ..., net).",
    ),
)


def _keep(eqn, values, facts):
    return None


def _struct(leaf):
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    aval = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def _describe(tree):
    shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree)]
    return ", ".join(shapes) + f" in {jax.tree.structure(tree)}"
