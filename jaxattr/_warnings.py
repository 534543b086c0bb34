"""What a user should be told before trusting an explanation."""

import sys
import warnings
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params


class ExplanationWarning(UserWarning):
    """The explanation is computed, but may not answer the question that was meant."""


def warn_of_prediction(logits: np.ndarray, target: int) -> None:
    """Warns of a target far from the prediction, and of a head that ends in softmax.

    Args:
      logits: [K] output of the network for the clip.
      target: class index in 0..K-1.
    """
    kind = jnp.finfo(logits.dtype)
    logits = logits.astype(np.float64)
    count = logits.size
    order = int((logits > logits[target]).sum())
    top = max(1, min(5, count // 4))
    if order >= top:
        _warn(
            f"`target` {target} is the network's number {order + 1} of {count} for "
            f"this clip; the prediction is {int(logits.argmax())}. The explanation "
            "says what speaks for a class that the network did not choose."
        )
    rounding = max(1e-3, 4 * float(kind.eps))
    if count > 1 and logits.min() >= 0 and abs(float(logits.sum()) - 1) < rounding:
        _warn(
            "`f` seems to end in a softmax: its outputs are non-negative and sum to 1. "
            "Return logits, and choose score='prob' or 'log_prob' where probabilities "
            "are meant."
        )


def warn_of_negative(share: float) -> None:
    """Warns of what a rule takes for units that are never negative.

    Args:
      share: of their absolute sum that is negative.
    """
    if share > 0:
        _warn(
            f"{100 * share:.2g}% of the activation that `f` gives to a rule for units "
            "that are never negative is negative (`negative` of the result): put the "
            'rule behind ReLUs, or take one for any sign, such as lrp\'s "epsilon".'
        )


def warn_of_training_mode(f, jaxpr) -> None:
    """Warns of a network that samples or normalises by the clip it is given.

    Args:
      f: the network; NNX modules are searched for batch norm in training mode, inside
        `Partial` and `fold_convs` too.
      jaxpr: its traced program, searched for random numbers.

    It warns when a network is traced: once for each network, shape and setting.
    """
    if _draws_random_numbers(jaxpr):
        _warn(
            "`f` draws random numbers: dropout in training mode? Call `f.eval()` or "
            "set deterministic=True; what is explained is one random network."
        )
    if _has_training_batch_norm(f):
        _warn(
            "`f` holds batch norm in training mode, which normalises by the clip "
            "itself. Call `f.eval()` or set use_running_average=True."
        )


def warn_of_unseen(method: str, names: Iterable[str]) -> None:
    """Warns of operations into which a backward rule cannot see.

    Args:
      method: what has the rule.
      names: of the operations; without any there is no warning.
    """
    if names := sorted(set(names)):
        _warn(
            f"`f` has operations into which {method} cannot see: {', '.join(names)}. "
            "They keep their own derivative."
        )


def _warn(message):
    # The level of the user's call: explain -> _Explain.__call__ -> warn_of -> here.
    warnings.warn(message, ExplanationWarning, stacklevel=4)


_RANDOM = {"random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"}


def _draws_random_numbers(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _RANDOM:
            return True
        if any(map(_draws_random_numbers, jaxprs_in_params(eqn.params))):
            return True
    return False


def _has_training_batch_norm(f):
    if "flax" not in sys.modules:
        return False
    from flax import nnx

    found = jax.tree.leaves(_unfolded(f), is_leaf=lambda x: isinstance(x, nnx.Module))
    return any(
        isinstance(m, nnx.BatchNorm) and not m.use_running_average
        for module in found
        if isinstance(module, nnx.Module)
        for _, m in nnx.iter_modules(module)
    )


def _unfolded(f):
    """The network that `fold_convs` was given."""
    if isinstance(f, jax.tree_util.Partial) and hasattr(f.func, "join"):
        return _unfolded(f.func.join(*f.args))
    return f
