"""What rules of every kind need: operations as functions, and values passed on."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxattr.program import CALLS, PRODUCTS, Fact, Traced, lift, opened
from jaxattr.rules._rectifier import rectifier

_OPAQUE = frozenset(
    {"custom_vjp_call", "custom_jvp_call", "custom_linear_solve", "shard_map"}
    | {"pallas_call", "ffi_call", "pure_callback", "io_callback"}
)
SUMS = frozenset(("reduce_sum", "reduce_window_sum"))
_OPERATIONS = {
    "add": jnp.add,
    "add_any": jnp.add,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "div": jnp.divide,
}


def products(network: Traced, method: str) -> list[JaxprEqn]:
    """All products with weights, in order; the last is the prediction layer.

    A jitted function that is called twice holds its equations twice.

    Raises:
      ValueError: there are none, which are the layers of the method.
    """
    return required(
        network,
        lambda eqn, facts: (
            eqn.primitive.name in PRODUCTS and sum(f.active for f in facts) == 1
        ),
        f"`f` has no convolution and no matrix product with weights, which are the "
        f"layers of {method}: gradient methods take any network.",
    )


def required(
    network: Traced, is_meant: Callable[[JaxprEqn, list[Fact]], bool], missing: str
) -> list[JaxprEqn]:
    """The equations that a rule acts on, in order.

    Args:
      network: what is searched.
      is_meant: whether a rule acts on an equation.
      missing: begins the message if there are none, which names what was found.

    Raises:
      ValueError: there are none.
    """
    found, names = [], set()

    def see(eqn, facts):
        if is_meant(eqn, facts):
            found.append(eqn)
        elif any(fact.active for fact in facts):
            names.add(name_of(eqn))

    network.survey(see)
    if not found:
        raise ValueError(
            f"{missing} What depends on the clip: {', '.join(sorted(names)) or '-'}."
        )
    return found


def unseen(network: Traced) -> set[str]:
    """Names of operations that depend on the clip and hold a program of their own.

    A custom derivative belongs to its body, so no rule enters it; a kernel or a host
    function has no program that could be read.
    """
    found = set()

    def see(eqn, facts):
        opaque = eqn.primitive.name in _OPAQUE and rectifier(eqn, facts) is None
        if opaque and any(fact.active for fact in facts):
            found.add(name_of(eqn))

    network.survey(see)
    return found


def name_of(eqn: JaxprEqn) -> str:
    """An operation for a message: with the name of the function that it calls."""
    kind, name = eqn.primitive.name, eqn.params.get("name")
    if kind in CALLS:
        info = opened(eqn.params["call_jaxpr"])[0].debug_info
        name = getattr(info, "func_name", None)
    return f"{kind} {name}" if name and kind != "name" else kind


def operation_of(
    network: Traced, eqn: JaxprEqn, *, turned: bool = False
) -> Callable[..., jax.Array]:
    """An equation as a function of its operands, or of these in the other order."""

    def operation(*values):
        return network.apply(eqn, values[::-1] if turned else values)[0]

    def call(*values):  # Whose program takes the dtypes of the network alone.
        pairs = zip(values, eqn.invars)
        return lift(
            network.run(eqn, [jnp.asarray(v, a.aval.dtype) for v, a in pairs])[0]
        )

    if eqn.primitive.name in CALLS:
        return call

    return operation


def fitted(r: jax.Array, like: jax.Array) -> jax.Array:
    """Sums a cotangent over the axes along which its value was broadcast."""
    shape = jnp.shape(like)
    if len(shape) != r.ndim:
        return r.sum().reshape(shape)
    axes = [i for i, n in enumerate(shape) if n == 1 and r.shape[i] != 1]
    return r.sum(axes, keepdims=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def passed(name: str, which: int, a: jax.Array, b: jax.Array) -> jax.Array:
    """An operation with a constant that hands its cotangent on to operand `which`."""
    return _OPERATIONS[name](a, b)


def _passed_backward(name, which, given, r):
    cotangents = [jnp.zeros_like(value) for value in given]
    cotangents[which] = fitted(r, given[which])
    return tuple(cotangents)


passed.defvjp(
    lambda name, which, a, b: (_OPERATIONS[name](a, b), (a, b)), _passed_backward
)
