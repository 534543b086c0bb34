"""From a network, a target and the name of a score to a scalar function of the clip."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxattr._clip import wide
from jaxattr.program import Traced

Clip = Any  # One array [T, H, W, C], or a pytree of arrays for gradient methods.
Network = Callable[[Clip], Any]
NamedScore = Literal["logit", "prob", "log_prob", "margin", "sigmoid"]
Score = NamedScore | Callable[[Any, Any], jax.Array]


def check_score(score: Score) -> None:
    """Raises ValueError unless `score` is callable or the name of a score."""
    if not callable(score) and score not in get_args(NamedScore):
        raise ValueError(
            f"`score` must be one of {', '.join(map(repr, get_args(NamedScore)))} or a "
            f"callable score(output, target) -> scalar, got {score!r}."
        )


def num_classes(output: Any, score: str | None) -> int | None:
    """K of an output `[K]` under a named score; None under a callable one (None).

    Raises:
      ValueError: under a named score, an output that is not one array `[K]`, or of
        fewer classes than the score needs.
      TypeError: under a named score, logits that are not floating point.
    """
    if score is None:
        return None
    leaves = jax.tree.leaves(output)
    if not (jax.tree.structure(output) == jax.tree.structure(0) and output.ndim == 1):
        shapes = [tuple(leaf.shape) for leaf in leaves]
        raise ValueError(
            f"`f` must map one clip to logits [K] under score={score!r}, got "
            f"{type(output).__name__} of shape {shapes}. Pass a clip without "
            "batch axis (many clips: jax.vmap), or a callable `score(output, target)`."
        )
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise TypeError(
            f"`f` must return floating-point logits under score={score!r}, got "
            f"{output.dtype}: what is rounded has no gradient."
        )
    least = 2 if score == "margin" else 1
    if output.shape[0] < least:
        raise ValueError(
            f"`f` must return at least {least} logit{'s' * (least > 1)} under "
            f"score={score!r}, got an output of shape {tuple(output.shape)}."
        )
    return output.shape[0]


def bind(f: Network, clip: Clip, target: Any, score: Score) -> Callable[[Clip], Any]:
    """Makes the scalar function of the clip that a method explains.

    Args:
      f: network, one clip -> output; what `explainer` hands to a method, so that
        binding several scores runs the Python of the network once.
      clip: anything of the clip's shapes and dtypes; values are not read.
      target: class index for a named score, else whatever the callable takes. A traced
        index out of range makes the score and its gradient NaN.
      score: "logit", "prob" (softmax), "log_prob", "margin" (over the best other
        class), "sigmoid", or a callable score(output, target) -> scalar.

    Returns:
      `s(x) -> []`, float32 or wider, for x like `clip`.
    """
    read = reader(f, clip, target, score)
    return lambda x: read(f(x))


def reader(f: Network, clip: Clip, target: Any, score: Score) -> Callable[[Any], Any]:
    """The scalar function of the network's output; arguments as those of `bind`."""
    if callable(score):
        return lambda output: _as_scalar(score(output, target))
    poison = poison_of(f, clip, target, score)
    index = jnp.where(jnp.isnan(poison), 0, jnp.asarray(target))
    transform = _NAMED[score]
    # Every logit times NaN, not the score replaced by NaN: the gradient has to become
    # NaN as well, at every voxel.
    return lambda logits: transform(logits.astype(poison.dtype) * poison, index)


def poison_of(f: Network, clip: Clip, target: Any, score: Score) -> jax.Array:
    """NaN for a traced index out of range, else 1: what every result is multiplied by.

    Args:
      f: as for `bound`, and so are the others.
      clip: see `f`.
      target: see `f`.
      score: a callable one takes any target, and gives 1.

    Returns:
      [], of the dtype in which the score is computed.
    """
    if callable(score):
        return jnp.ones((), jnp.float32)
    output = f.output if isinstance(f, Traced) else jax.eval_shape(f, clip)
    count = num_classes(output, score)
    index = jnp.asarray(target)
    valid = (index >= 0) & (index < count)
    return jnp.where(valid, 1, jnp.nan).astype(wide(output.dtype))


def _as_scalar(value):
    value = jnp.asarray(value)
    if value.ndim or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            "`score` must return one floating-point number, got shape "
            f"{value.shape} of {value.dtype}."
        )
    return value.astype(wide(value.dtype))


def _margin(logits, index):
    others = jnp.where(
        jnp.arange(logits.size, dtype=index.dtype) == index, -jnp.inf, logits
    )
    return logits[index] - others.max()


_NAMED = {
    "logit": lambda z, i: z[i],
    "prob": lambda z, i: jax.nn.softmax(z)[i],
    "log_prob": lambda z, i: jax.nn.log_softmax(z)[i],
    "margin": _margin,
    "sigmoid": lambda z, i: jax.nn.sigmoid(z[i]),
}
