"""Files that appear whole or not at all, and folders that are checked before work."""

import contextlib
import errno
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator

Path = str | pathlib.Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
    """Yields a temporary name beside `path`, and renames it on success.

    Whatever ends the block early, Ctrl-C included, the temporary file goes and what
    stood at `path` before stays.

    Raises:
      FileNotFoundError: the folder of `path` does not exist.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "`path` is in a folder that does not exist", str(path)
        )
    part = path.with_name(f".{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder whose files move into `folder` when the block is done.

    The page moves last, so that it never points at files which are not there. When the
    block fails, what it wrote goes, and so does every folder made for it.

    Raises:
      OSError: `folder` is no folder or cannot be written; raised before any work.
    """
    folder = pathlib.Path(folder)
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = pathlib.Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    except OSError as error:
        _remove_empty(made)
        raise OSError(
            error.errno,
            f"`folder` cannot be written ({error.strerror}); choose another one",
            str(folder),
        ) from error
    done = False
    try:
        yield stage
        for file in sorted(stage.iterdir(), key=lambda p: p.suffix == ".html"):
            file.replace(folder / file.name)
        done = True
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not done:
            _remove_empty(made)


def _remove_empty(folders: list[pathlib.Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # Somebody else may have put a file there.
            folder.rmdir()
