"""Operations with a rule of their own for relevance, which is their cotangent.

Each gives what it gives without the rule.
"""

import functools

import jax
import jax.numpy as jnp

from jaxattr.rules._lrp_rules import divided, stabilised
from jaxattr.rules._operations import fitted


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def shared_out(operation, epsilon, x):
    """A sum or mean: to each summand its share."""
    return operation(x)


def _shared_out_backward(operation, epsilon, x, r):
    z, pull = jax.vjp(operation, x)
    return (x * pull(divided(r, stabilised(z, epsilon)))[0],)


shared_out.defvjp(lambda op, epsilon, x: (op(x), x), _shared_out_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def bilinear(operation, epsilon, a, b):
    """A product of two that depend on the clip: half to each, by contributions."""
    return operation(a, b)


def _bilinear_backward(operation, epsilon, given, r):
    z, pull = jax.vjp(operation, *given)
    to_a, to_b = pull(divided(r, stabilised(z, epsilon)) / 2)
    return given[0] * to_a, given[1] * to_b


bilinear.defvjp(
    lambda operation, epsilon, a, b: (operation(a, b), (a, b)), _bilinear_backward
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def softmax(axes, x):
    """Of its Taylor expansion, with the constant left to no input."""
    return jax.nn.softmax(x, axes)


def _softmax_forward(axes, x):
    y = jax.nn.softmax(x, axes)
    return y, (x, y)


def _softmax_backward(axes, given, r):
    x, y = given
    x = jnp.where(jnp.isfinite(x), x, 0)  # What is masked by -inf gets nothing.
    return (x * (r - y * r.sum(axes, keepdims=True)),)


softmax.defvjp(_softmax_forward, _softmax_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def shared(sign, epsilon, a, b):
    """`a + sign * b`: to each branch its share."""
    return a + sign * b


def _shared_backward(sign, epsilon, given, r):
    a, b = given
    u = divided(r, stabilised(a + sign * b, epsilon))
    return fitted(a * u, a), fitted(sign * b * u, b)


shared.defvjp(lambda sign, epsilon, a, b: (a + sign * b, (a, b)), _shared_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def biased(sign, epsilon, x, constant):
    """`sign * x + constant`, of which the share of the constant is dropped."""
    return sign * x + constant


def _biased_backward(sign, epsilon, given, r):
    x, constant = given
    u = divided(r, stabilised(sign * x + constant, epsilon))
    return fitted(sign * x * u, x), jnp.zeros_like(constant)


biased.defvjp(lambda sign, epsilon, x, c: (sign * x + c, (x, c)), _biased_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def multiplied(to_a, a, b):
    """A product of elements: the part `to_a` to a, what is left to b."""
    return a * b


multiplied.defvjp(
    lambda to_a, a, b: (a * b, (a, b)),
    lambda to_a, given, r: (
        fitted(to_a * r, given[0]),
        fitted((1 - to_a) * r, given[1]),
    ),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def activated(operation, x):
    """A function of each element that is 0 at 0: all to its argument."""
    return operation(x)


activated.defvjp(
    lambda operation, x: (operation(x), None), lambda operation, _, r: (r,)
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def non_linear(epsilon, y, x, at_zero):
    """y, a function of the elements of x, which gets all but the share of a constant.

    What the function is at 0, as 1/2 of a sigmoid, counts as a bias: x / y of something
    that does not vanish with x would have no bound.
    """
    return y


def _non_linear_forward(epsilon, y, x, at_zero):
    at_zero = jnp.where(jnp.isfinite(at_zero), at_zero, 0)
    share = divided(y - at_zero, stabilised(y, epsilon))
    return y, jnp.where(at_zero == 0, 1, share)


non_linear.defvjp(
    _non_linear_forward, lambda epsilon, share, r: (None, share * r, None)
)


@jax.custom_vjp
def counted(x, signs):
    """x: all to it, and its sums of negative parts and of magnitudes to `signs`."""
    return x


def _counted_backward(given, r):
    x, signs = given
    sums = jnp.stack([jnp.maximum(-x, 0).sum(), jnp.abs(x).sum()])
    return r, sums.astype(signs.dtype)


counted.defvjp(lambda x, signs: (x, (x, signs)), _counted_backward)
