"""The parameters of a network, layer by layer, in the order in which they are used."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal, jaxprs_in_params

from jaxattr.program import split, trace


class Layers(NamedTuple):
    """Parameters grouped by layer.

    Attributes:
      names: one a layer, in the order of their first use in the forward pass.
      layer_of: for every array leaf of the network its layer, or None for leaves that
        are no parameters, were not selected, or are not used.
    """

    names: tuple[str, ...]
    layer_of: tuple[int | None, ...]


def parameter_layers(
    f: Callable[..., Any],
    clip: Any,
    *,
    select: Callable[[str], bool] | None = None,
    depth: int | None = None,
) -> Layers:
    """Groups the parameters of a network by the path to their parent.

    Leaves at the root are layers of their own.

    Args:
      f: network, a callable pytree.
      clip: one that it takes.
      select: name of a leaf, such as "layer1.0.conv1.kernel" -> whether it takes part.
      depth: how many components of the path make a layer; None takes all.

    Raises:
      ValueError: no parameters.
    """
    paths = [
        (tuple(jax.tree_util.keystr((k,), simple=True) for k in path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(f)[0]
        if _is_array(leaf)
    ]
    uses = first_uses(trace(f, clip, fold=False).jaxpr)[: len(paths)]
    chosen: dict[int, tuple[str, ...]] = {}
    for i, (path, leaf) in enumerate(paths):
        # An NNX variable is a node around its value.
        path = path[:-1] if len(path) > 1 and path[-1] == "value" else path
        name = ".".join(path)
        used = uses[i] < math.inf and jnp.issubdtype(leaf.dtype, jnp.floating)
        if used and (select is None or select(name)):
            chosen[i] = path[:-1] or path
    if not chosen:
        raise ValueError(
            "`f` has no parameters to randomise among the leaves of its pytree: pass "
            "an NNX module, an Equinox module or a jax.tree_util.Partial, and select "
            "some of them."
        )
    shared = _num_shared(list(chosen.values()))
    names = {i: ".".join(path[shared:][:depth]) for i, path in chosen.items()}
    by_use = sorted(names, key=lambda i: uses[i])
    order = tuple(dict.fromkeys(names[i] for i in by_use))
    layer_of = tuple(
        order.index(names[i]) if i in names else None for i in range(len(paths))
    )
    return Layers(order, layer_of)


def first_uses(jaxpr: Jaxpr) -> list[float]:
    """When each input of a program is first used, in steps of it; inf: never."""
    seen: dict[int, float] = {}
    _walk(jaxpr, {var: i for i, var in enumerate(jaxpr.invars)}, seen, [0])
    return [seen.get(i, math.inf) for i in range(len(jaxpr.invars))]


def _walk(jaxpr, origin, seen, clock):
    for eqn in jaxpr.eqns:
        sources = [
            None if isinstance(a, Literal) else origin.get(a) for a in eqn.invars
        ]
        for body in jaxprs_in_params(eqn.params):
            # Operands that are not the body's, such as the index of `cond`, come first.
            pairs = zip(reversed(body.invars), reversed(sources))
            inner = {var: source for var, source in pairs if source is not None}
            _walk(body, inner, seen, clock)
        clock[0] += 1
        for source in sources:
            if source is not None:
                seen.setdefault(source, clock[0])


def _num_shared(paths):
    """How many leading components all paths share, leaving one of each."""
    most = min(map(len, paths)) - 1
    return next((i for i in range(most) if len({p[i] for p in paths}) > 1), most)


def _is_array(leaf):
    return bool(split(leaf)[0])
