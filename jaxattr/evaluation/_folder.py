"""The folder of an evaluation: who works in it, and that all do the same work."""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FILE = "settings.json"


class FolderError(ValueError):
    """The folder belongs to another evaluation, or to another process."""


class Folder:
    """One process's hold of a folder.

    Args:
      path: made if need be.
      process: (i, n), the i-th of n processes, from 0.

    Raises:
      FolderError: another process has the same share, or works with other shares.
      OSError: the folder cannot be written.
    """

    def __init__(self, path: pathlib.Path, process: tuple[int, int]):
        self.path, (self._index, self._count) = path, process
        path.mkdir(parents=True, exist_ok=True)
        self._share = _Lock(path / f".{self._name}.lock")
        if not self._share.take():
            self._share.close()
            raise FolderError(
                f"another process works on share {self._index}/{self._count} of {path}."
            )
        for other in path.glob(".*of*.lock"):
            if not other.name.endswith(f"of{self._count}.lock"):
                probe = _Lock(other)
                free = probe.take(shared=True)
                probe.close()
                if not free:
                    self._share.close()
                    raise FolderError(
                        f"another process works on share {_told(other)} of {path}: all "
                        f"must have the same number of shares, this one has "
                        f"{self._count}."
                    )

    @property
    def _name(self):
        return f"{self._index}of{self._count}"

    @property
    def records(self) -> pathlib.Path:
        """The file of this process's records."""
        return self.path / f"records-{self._name}.jsonl"

    def agree(self, identity: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Writes down what this evaluation is, or makes sure that it is the same.

        Args:
          identity: what decides the records; JSON.
          run: what else is worth knowing of this process.

        Raises:
          FolderError: the folder is another's; with all differences, if it says them.
        """
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._settings() as kept:
            if not kept:
                self._check_new()
                kept |= {"hash": _digest(identity), **identity, "clips": {}, "runs": []}
            changed = list(_differences({k: kept.get(k) for k in identity}, identity))
            if changed:
                raise FolderError(
                    f"{self.path} holds another evaluation; use another folder, or "
                    "these settings:\n  " + "\n  ".join(changed)
                )
            share = f"{self._index}/{self._count}"
            kept["runs"].append({"process": share, "started": started, **run})

    def _check_new(self):
        """Records without settings would be taken for those of any."""
        found = sorted(self.path.glob("records-*of*.jsonl"))
        if found:
            raise FolderError(
                f"{self.path} holds records ({found[0].name}) and no {FILE} that says "
                "of what: use another folder."
            )

    def agree_on_clips(
        self, network: str, data: str, names: Sequence[str], refused: str | None
    ) -> None:
        """Likewise for the clips of a data set.

        Args:
          network: label.
          data: label.
          names: of the clips that are to be explained.
          refused: why there are none.

        Raises:
          FolderError: they are not those of earlier or other runs.
        """
        found = {"num": len(names), "sha256": _digest(list(names)), "refused": refused}
        with self._settings() as kept:
            known = kept["clips"].setdefault(network, {}).setdefault(data, found)
            if known != found:
                raise FolderError(
                    f"the clips of {data} have changed since {self.path} was begun: "
                    f"{known['num']} then, {found['num']} now, or others; use another "
                    "folder."
                )

    @contextlib.contextmanager
    def _settings(self) -> Iterator[dict[str, Any]]:
        """The content of the file of settings, which is written back if it changed."""
        with alone(self.path):
            path = self.path / FILE
            kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
            before = json.dumps(kept)
            yield kept
            if json.dumps(kept) != before:
                text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
                with whole(path) as part:
                    part.write_text(text, "utf-8")

    def close(self) -> None:
        """Gives the share back."""
        self._share.close()


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """Keeps the other processes of a folder waiting."""
    lock = _Lock(folder / ".lock")
    try:
        lock.take(wait=True)
        yield
    finally:
        lock.close()


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields where to write a file that appears complete or not at all.

    What a killed process leaves of it has a name that the next one writes over.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class _Lock:
    """A lock of the operating system's, gone with the process that holds it."""

    def __init__(self, path: pathlib.Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def take(self, *, wait: bool = False, shared: bool = False) -> bool:
        """Takes the lock, unless somebody else has it."""
        try:
            import fcntl
        except ImportError as error:
            raise ImportError("`evaluate` needs a system with flock.") from error
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._file, how if wait else how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Releases it."""
        os.close(self._file)


def _told(lock):
    return lock.name.removeprefix(".").removesuffix(".lock").replace("of", "/")


def _digest(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(old, new, path=""):
    """Lines such as "settings.seed: 0 there, 1 now"."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            below = f"{path}.{key}" if path else key
            yield from _differences(old.get(key), new.get(key), below)
        if list(old) != list(new) and sorted(old) == sorted(new):
            yield f"{path}: the order {', '.join(old)} there, {', '.join(new)} now"
    elif old != new:
        yield f"{path}: {_shown(old)} there, {_shown(new)} now"


def _shown(value):
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
