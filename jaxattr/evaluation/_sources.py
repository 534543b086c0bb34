"""The table of data sets: kind and arguments of a settings file -> clips.

A kind is made anew for every network, which says what its clips look like and, for
certified evidence, which of them count.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from jaxattr import data
from jaxattr.data import Samples
from jaxattr.evaluation._evidence import check_evidence, evidence_samples
from jaxattr.evaluation._folder_of_clips import check_folder, folder_samples


class Source(NamedTuple):
    """A kind of data set.

    Attributes:
      make: `make(f, num, **arguments) -> Samples` for a network; `num` clips are wanted
        at most, None is all.
      arguments: what it is told in a settings file, by name.
      label: arguments -> what the records call it, unless the settings say it.
      paths: arguments that are paths.
      check: raises ValueError for arguments that cannot be, before anything runs.
    """

    make: Callable[..., Samples]
    arguments: Mapping[str, inspect.Parameter] = MappingProxyType({})
    label: Callable[[Mapping[str, Any]], str | None] = lambda arguments: None
    paths: tuple[str, ...] = ()
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


def _cat_ucf(
    folder,
    spec,
    *,
    split: Literal["train", "test"] = "test",
    fold: Literal[1, 2, 3] = 1,
    seed: int = 0,
):
    return data.cat_ucf(data.ucf101(folder, spec, split=split, fold=fold), seed=seed)


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
        "cat_ucf": _of_folder(_cat_ucf),
        "epic_kitchens": _epic_kitchens(),
        "something_something": _of_folder(
            data.something_something, "annotations", "labels"
        ),
        "kinetics": _of_folder(data.kinetics),
        "csv": _of_folder(data.from_csv),
    }
)
