"""Loads, saves and converts weights: all of them or none."""

import hashlib
import importlib.metadata
import os
import pathlib
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxattr_models._errors import CheckpointError
from jaxattr_models._files import read_arrays, write_safetensors
from jaxattr_models._registry import CATALOGUE, fetch

__all__ = ["CheckpointError", "convert", "fetch", "load", "save"]


def load(module: nnx.Module, weights: str | os.PathLike) -> None:
    """Replaces every parameter and statistic of a module by a checkpoint's.

    Arrays are cast to the dtype of the module's own. A file may name them as `save`
    does, or as the original implementation does if the module knows these names: those
    of its published files (`module.source_name`), and those of its modules where they
    differ (`module.live_name`). A prefix "module." is dropped, and so are torch's
    `num_batches_tracked`.

    Args:
      module: changed in place, and only if everything fits; its leaves may be
        `jax.ShapeDtypeStruct`s.
      weights: a `.pth`, `.bin` or `.safetensors` file, or the name of published weights
        of `module.name`, which are downloaded once.

    Raises:
      CheckpointError: if the name is unknown, the download fails, or the file is
        broken, refused, or does not fit; then with all names that do not.
      FileNotFoundError: if there is no such file.
    """
    path = locate(getattr(module, "name", ""), weights)
    arrays = _plain_names(read_arrays(path))
    state = dict(nnx.to_flat_state(nnx.state(module)))
    leaves = {"/".join(map(str, key)): key for key in state}
    try:
        values = _match(
            module, {name: state[key] for name, key in leaves.items()}, arrays
        )
    except CheckpointError as error:
        error.args = (f"`{path}` {error}",)
        raise
    for name, key in leaves.items():
        state[key].set_value(values[name])
    nnx.update(module, nnx.from_flat_state(state))


def count_classes(path: str | os.PathLike, head: str) -> int | None:
    """Reads the number of classes off a file, where it holds the head's bias."""
    arrays = _plain_names(read_arrays(pathlib.Path(path)))
    shapes = [arrays[n].shape for n in (head, head.replace("/", ".")) if n in arrays]
    return shapes[0][0] if shapes and len(shapes[0]) == 1 else None


def locate(model: str, weights: str | os.PathLike) -> pathlib.Path:
    """Returns the file of weights given by name or as a path."""
    known = {name: entry for (m, name), entry in CATALOGUE.items() if m == model}
    if weights in known:
        return fetch(model, weights)
    path = pathlib.Path(weights)
    if path.is_file():
        return path
    if path.suffix or path.parent != pathlib.Path("."):
        raise FileNotFoundError(f"`weights`: there is no file {path}.")
    raise CheckpointError(
        f"`weights` {str(weights)!r} is neither a file nor the name of weights for "
        f"{model or 'this module'}; known names: {sorted(known) or 'none'}."
    )


def save(
    module: nnx.Module,
    path: str | os.PathLike,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes every parameter and statistic to a safetensors file, atomically.

    The keys are the NNX state path joined by "/".

    Args:
      module: whose state to write, in its own dtypes.
      path: of the file, replaced if it exists.
      metadata: text to keep in the header, beside the model's name and the version
        that wrote it.
    """
    arrays = {
        "/".join(map(str, key)): np.asarray(variable.get_value())
        for key, variable in nnx.to_flat_state(nnx.state(module))
    }
    header = {
        "model": getattr(module, "name", type(module).__name__),
        "converter": f"jaxattr {importlib.metadata.version('jaxattr')}",
        **(metadata or {}),
    }
    write_safetensors(pathlib.Path(path), arrays, header)


def convert(
    source: str | os.PathLike,
    destination: str | os.PathLike,
    *,
    model: str,
    num_classes: int | None = None,
) -> None:
    """Converts a checkpoint to safetensors with our own names.

    The header says where the weights came from and the SHA-256 of the source.

    Args:
      source: a `.pth` or `.safetensors` file, or the name of published weights.
      destination: the `.safetensors` file to write.
      model: name of the network, one of `models()`.
      num_classes: number of logits; None takes the checkpoint's.

    Raises:
      CheckpointError: if the checkpoint is broken, refused or of another network.
    """
    from jaxattr_models._catalogue import build  # Which itself loads weights.

    module = build(model, weights=source, num_classes=num_classes)
    path = locate(model, source)
    entry = CATALOGUE.get((model, str(source)))
    header = {
        "source": entry.url if entry and entry.url else path.name,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    if entry:
        header["preset"] = str(source)
    save(module, destination, metadata=header)


def _plain_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if arrays and all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): a for name, a in arrays.items()}
    return {
        name: array
        for name, array in arrays.items()
        if not name.endswith("num_batches_tracked")
    }


def _spelling(module, leaves: Iterable[str], arrays: Mapping) -> dict:
    """Name in the file and permutation of axes, by leaf: those that fit the most."""
    known = ("source_name", "live_name")
    spellings = [getattr(module, name) for name in known if hasattr(module, name)]
    spellings.append(lambda path: (path, None))
    tables = [{path: spell(path) for path in leaves} for spell in spellings]
    # The first of equals: a file of another network lacks what is published.
    return max(tables, key=lambda table: sum(n in arrays for n, _ in table.values()))


def _match(module, leaves: Mapping, arrays: Mapping[str, np.ndarray]) -> dict:
    """Pairs leaves with arrays, or raises one error with all that does not fit."""
    sources = _spelling(module, leaves, arrays)
    names = {name for name, _ in sources.values()}
    missing = sorted(names - set(arrays))
    surplus = sorted(set(arrays) - names)
    misshaped, nonfinite, values = [], [], {}
    for path, (name, axes) in sources.items():
        if name not in arrays:
            continue
        array, leaf = arrays[name], leaves[path].get_value()
        if axes is not None and len(axes) == array.ndim:
            array = array.transpose(axes)
        if array.shape != leaf.shape or not jnp.issubdtype(array.dtype, jnp.floating):
            misshaped.append(
                f"{name}: {array.dtype} {array.shape} for floating {leaf.shape}"
            )
            continue
        with np.errstate(over="ignore"):
            array = array.astype(leaf.dtype)
        if not np.isfinite(array).all():
            nonfinite.append(name)
        values[path] = jnp.asarray(array)
    if missing or surplus or misshaped or nonfinite:
        raise CheckpointError(
            f"does not fit {getattr(module, 'name', type(module).__name__)}; nothing "
            "was loaded.",
            missing=missing,
            surplus=surplus,
            misshaped=misshaped,
            nonfinite=nonfinite,
        )
    return values
