"""Where the command line keeps things, and how it names a clip's folder."""

import os
import pathlib
import re
from collections.abc import Sequence


def home() -> pathlib.Path:
    """Cache folder: $JAXATTR_HOME, else ~/.cache/jaxattr."""
    return pathlib.Path(
        os.environ.get("JAXATTR_HOME") or pathlib.Path("~/.cache/jaxattr").expanduser()
    )


def folder_names(paths: Sequence[str]) -> list[str]:
    """One plain and unique folder name for every path, in order."""
    names: list[str] = ["index.html"]  # The page of pages.
    for path in paths:
        stem = re.sub(r"[^\w.-]+", "_", pathlib.Path(path).stem).strip("._") or "clip"
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}-{count}"
        names.append(name)
    return names[1:]


def printable(path: str) -> str:
    """A path's last part as text that any file or terminal takes."""
    name = pathlib.Path(path).name or path
    return os.fsencode(name).decode(errors="replace")
