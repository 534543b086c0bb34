"""The whole experiment: networks, methods, metrics and clips, at any scale."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from jaxattr.data import Samples
from jaxattr.data._extras import need
from jaxattr.evaluation._folder import Folder
from jaxattr.evaluation._join import join_records
from jaxattr.evaluation._read_settings import read_settings
from jaxattr.evaluation._run import Run
from jaxattr.evaluation._sources import SOURCES, Source


class Summary(NamedTuple):
    """What came of an evaluation.

    Attributes:
      table: `records.parquet`; None while other processes are at work.
      clips: that this process has done now, once for every network.
      before: that it found done.
      undecodable: of both.
      refused: data sets, once for every network that they are nothing for.
      seconds: that explaining and scoring took, waiting included.
      waited: seconds of these, for clips to be decoded.
    """

    table: pathlib.Path | None
    clips: int
    before: int
    undecodable: int
    refused: int
    seconds: float
    waited: float


def evaluate(
    settings: str | pathlib.Path | Mapping[str, Any],
    out: str | pathlib.Path,
    *,
    process: tuple[int, int] | None = None,
    networks: Mapping[str, Callable[..., Any]] | None = None,
    data: Mapping[str, Samples] | None = None,
    needs: Mapping[str, Callable[[Any], Any]] | None = None,
    progress: Callable[[float, float, str], None] = lambda done, total, note: None,
    say: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Explains every clip by every method for every network, and scores it.

    The folder gets `settings.json`, what was run; `records-<i>of<n>.jsonl`, for each
    process a line for every clip, method and metric; and from the last process to
    finish, `records.parquet` with all of them in one order. A clip is there with all
    its lines or not at all, so that the same call goes on where an earlier one was
    ended, by whatever. Keys are `fold_in` of the clip's index: neither the share of a
    process nor an interruption changes a value.

    Args:
      settings: TOML file, or what one would hold; see docs/evaluate.md.
      out: folder, made if need be; that of the same settings only.
      process: (i, n), to do the i-th of n shares, from 0; None takes those of
        `jax.distributed`, and all where there is one process.
      networks: callable pytrees that the settings may name.
      data: likewise sets of clips, by kind.
      needs: setting -> `make(f)`, for methods that need what a file cannot say, such
        as the `params` of `masking_model`; called once for each network.
      progress: called with the units of work done, their total and the clip's name.
        What it raises ends the evaluation between two methods.
      say: called with sentences worth reading.

    Returns:
      Counts, and where the table is.

    Raises:
      SettingsError: with all that is wrong in the settings, before anything runs.
      FolderError: the folder holds another evaluation, with the differences; or
        another process has this share.
      TypeError: `data` has what is no `jaxattr.data.Samples`.
      OSError: a file cannot be written, as on a full disk; what is there stays.
      ImportError: pyarrow is not installed.
    """
    need("pyarrow.parquet", "pyarrow", "data")
    networks, sources = dict(networks or {}), {**SOURCES, **_given(data or {})}
    needs = dict(needs or {})
    chosen = read_settings(settings, networks=networks, sources=sources, needs=needs)
    index, count = process or (jax.process_index(), jax.process_count())
    if not 0 <= index < count:
        raise ValueError(f"`process` must be (i, n) with 0 <= i < n, got {process}.")
    folder = Folder(pathlib.Path(out), (index, count))
    try:
        run = Run(
            chosen, folder, (index, count), networks, sources, needs, progress, say
        )
        run.everything()
        table = join_records(folder.path)
    finally:
        folder.close()
    return Summary(table, **run.counts)


def _given(data: Mapping[str, Samples]) -> dict[str, Source]:
    for name, samples in data.items():
        if not hasattr(samples, "names"):
            raise TypeError(
                f"`data[{name!r}]` must have `names`, `__len__` and `__getitem__`, as "
                f"jaxattr.data.Samples has, got {type(samples).__name__}."
            )
    return {
        name: Source(lambda f, num, samples=samples: samples)
        for name, samples in data.items()
    }
