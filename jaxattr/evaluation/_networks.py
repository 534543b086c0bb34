"""Networks of a settings file: built, and known by the content of their weights."""

import hashlib
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._checking import nearest
from jaxattr.evaluation._settings import Choice
from jaxattr.program import split


class Trained(NamedTuple):
    """A network with its weights.

    Attributes:
      label: by which the records call it.
      f: one clip -> logits [K]; a callable pytree.
      head: name of its last layer, None where that is not known.
      sha256: of all its arrays; None where it has none.
    """

    label: str
    f: Any
    head: str | None
    sha256: str | None


def load(
    choice: Choice, base: pathlib.Path, given: Mapping[str, Callable[..., Any]]
) -> Trained:
    """Builds a network.

    Args:
      choice: of a settings file.
      base: folder to which paths are relative.
      given: networks by name that were made in Python.

    Raises:
      ValueError: weights that do not fit.
      OSError: a file that is not there.
    """
    if choice.name in given:
        f, head = given[choice.name], None
    elif ":" in choice.name:
        module, _, function = choice.name.partition(":")
        make = getattr(importlib.import_module(module), function, None)
        if make is None:
            raise ValueError(f"`networks`: {module} has no {function!r}.")
        f, head = make(**choice.settings), None
    else:
        import jaxattr_models

        settings = dict(choice.settings)
        weights = settings.pop("weights")
        if (base / weights).is_file():
            weights = base / weights
        f = jaxattr_models.build(
            choice.name, None if weights == "none" else weights, **settings
        )
        head = jaxattr_models.models()[choice.name].head.partition("/")[0]
    return Trained(choice.label, f, head, _digest(f))


def check_weights(name: str, weights: Any, base: pathlib.Path) -> None:
    """Raises ValueError unless there are such weights for a network of this package."""
    import jaxattr_models

    known = ["none", *jaxattr_models.models()[name].weights]
    if not isinstance(weights, str):
        raise ValueError(
            f"`weights` must be a file or one of {', '.join(known)} (none is random), "
            f"got {weights!r}."
        )
    if weights not in known and not (base / weights).is_file():
        raise ValueError(f"`weights` {weights!r} is no file{nearest(weights, known)}")


def is_test_only(name: str) -> bool:
    """Whether a network of this package is one on which nothing may be tuned."""
    import jaxattr_models

    model = jaxattr_models.models().get(name)
    return model is not None and model.test_only


def _digest(f) -> str | None:
    """SHA-256 over dtype, shape and bytes of the arrays, in the order of the pytree."""
    leaves, _ = split(f)
    if not leaves:
        return None
    digest = hashlib.sha256()
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
