"""Raw results as one `.npz`: every array under its method, and what was said of it."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def fields(result: Any) -> dict[str, Any]:
    """A result's fields by name; a bare array counts as its own `values`."""
    if hasattr(result, "_asdict"):
        return {k: v for k, v in result._asdict().items() if v is not None}
    return {"values": result}


def save_values(
    path: pathlib.Path,
    clip: Any,
    results: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> None:
    """Writes `clip`, `<method>/<field>` and the JSON text `metadata`, compressed.

    A field that is itself a tree gives `<method>/<field>/<leaf>`. bfloat16, which the
    format does not know, is widened to float32.
    """
    arrays: dict[str, Any] = {
        "clip": _plain(clip),
        "metadata": np.asarray(json.dumps(jsonable(metadata))),
    }
    for method, result in results.items():
        leaves, _ = jax.tree_util.tree_flatten_with_path(fields(result))
        for keys, leaf in leaves:
            name = jax.tree_util.keystr(keys, simple=True, separator="/")
            name = f"{method}/{name}"
            if name in arrays:
                raise ValueError(
                    f"`results` has two arrays called {name!r}; rename a method."
                )
            arrays[name] = _plain(leaf)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def jsonable(value: Any) -> Any:
    """Rewrites settings as JSON: arrays as lists, what is no number as text."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return str(value)


def _plain(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    ):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    known = array.dtype.kind in "biufcSU"  # bfloat16 and float8 have kind "V".
    return array if known else array.astype(np.float32)
