"""The table of data sets: kind and arguments of a settings file -> clips.

A kind is made anew for every network, which says what its clips look like and, for
certified evidence, which of them count.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxattr import data
from jaxattr.data import Samples
from jaxattr.data._extras import need
from jaxattr.evaluation._evidence import check_evidence, check_seed, evidence_samples
from jaxattr.evaluation._folder_of_clips import check_folder, folder_samples
from jaxattr.evaluation._folder_of_windows import check_windows, window_samples


class Source(NamedTuple):
    """A kind of data set.

    Attributes:
      make: `make(f, num, **arguments) -> Samples` for a network; `num` clips are wanted
        at most, None is all.
      arguments: what it is told in a settings file, by name.
      label: arguments -> what the records call it, unless the settings say it.
      paths: arguments that are paths.
      tables: arguments that are data sets themselves, tables in a settings file; `make`
        gets their `Samples`.
      check: raises ValueError for arguments that cannot be, before anything runs.
    """

    make: Callable[..., Samples]
    arguments: Mapping[str, inspect.Parameter] = MappingProxyType({})
    label: Callable[[Mapping[str, Any]], str | None] = lambda arguments: None
    paths: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    check: Callable[..., None] = lambda num, **arguments: None


def _keyword_only(function) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _of_folder(read: Callable[..., Samples], *paths: str) -> Source:
    """A kind read from a folder: `read(folder, spec, **arguments) -> Samples`.

    Args:
      read: its keyword-only arguments are those of a settings file, beside `folder`.
      paths: which of them are paths.
    """

    def make(f, num, *, folder, **arguments):
        return read(folder, f.spec, **arguments)

    arguments = {"folder": _keyword_only(make)["folder"], **_keyword_only(read)}
    return Source(make, arguments, paths=("folder", *paths))


def _cat_ucf(f, num, *, samples, distractors=None, seed: int = 0):
    return data.cat_ucf(samples, distractors, seed=seed)


def _check_cat_ucf(num, *, seed: int = 0, **tables):
    check_seed(seed)


def _records(folder, spec, *, split: str = "test"):
    tfds = need("tensorflow_datasets", "TensorFlow Datasets", "data")
    builder = tfds.builder_from_directory(folder)
    return data.from_records(builder.as_data_source(split), spec)


def _epic_kitchens() -> Source:
    """Its `label` is called `word`, as `label` is what records call a data set."""
    source = _of_folder(data.epic_kitchens)  # Tables lie in the folder.
    arguments = dict(source.arguments)
    arguments["word"] = arguments.pop("label")

    def make(f, num, *, word="noun", **others):
        return source.make(f, num, label=word, **others)

    return source._replace(make=make, arguments=arguments)


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "evidence": Source(
            evidence_samples,
            _keyword_only(evidence_samples),
            lambda arguments: arguments.get("family"),
            check=check_evidence,
        ),
        "folder": _of_folder(folder_samples, "labels", "boxes")._replace(
            check=check_folder
        ),
        "ucf101": _of_folder(data.ucf101),
        "ucf101_24": _of_folder(data.ucf101_24),
        "windows": _of_folder(window_samples, "labels", "boxes")._replace(
            check=check_windows
        ),
        "records": _of_folder(_records),
        "cat_ucf": Source(
            _cat_ucf,
            _keyword_only(_cat_ucf),
            tables=("samples", "distractors"),
            check=_check_cat_ucf,
        ),
        "epic_kitchens": _epic_kitchens(),
        "something_something": _of_folder(
            data.something_something, "annotations", "labels"
        ),
        "kinetics": _of_folder(data.kinetics),
        "csv": _of_folder(data.from_csv),
    }
)
