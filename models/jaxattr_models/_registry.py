"""The published weights: where they are, how to know them, and what they are worth."""

import dataclasses
import hashlib
import http.client
import importlib.resources
import os
import pathlib
import urllib.request
from collections.abc import Callable

from jaxattr_models._errors import CheckpointError
from jaxattr_models._files import replacing

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # Seconds without an answer.


@dataclasses.dataclass(frozen=True)
class Weights:
    """Published weights of one network.

    Attributes:
      filename: in the cache, or in this package.
      url: where the official file is; None if it ships with this package.
      sha256: leading hexadecimal digits of the file's SHA-256, at least eight. Eight,
        as in torchvision's file names, guard against corruption, not an adversary.
      megabytes: approximate size of the file, in units of 2^20 bytes.
      licence: of the weights, as far as the publisher states one.
      trained_on: data set.
      top1: accuracy as published, 0 to 1.
      top5: likewise.
    """

    filename: str
    url: str | None
    sha256: str
    megabytes: float
    licence: str
    trained_on: str
    top1: float | None = None
    top5: float | None = None


def _torchvision(filename: str, megabytes: float, top1: float, top5: float) -> Weights:
    return Weights(
        filename,
        f"https://download.pytorch.org/models/{filename}",
        filename.rsplit("-", 1)[1].removesuffix(".pth"),
        megabytes,
        "not stated (torchvision's code is BSD-3-Clause)",
        "Kinetics-400",
        top1,
        top5,
    )


def _families(stem: str, sha256: str, megabytes: float, top1: float) -> Weights:
    return Weights(
        f"{stem}.safetensors",
        None,
        sha256,
        megabytes,
        "Apache-2.0",
        "synthetic clips of jaxattr.data.evidence, all families",
        top1,
    )


# By network and name.
CATALOGUE: dict[tuple[str, str], Weights] = {
    ("r2plus1d_18", "kinetics400"): _torchvision(
        "r2plus1d_18-91a641e6.pth", 120.3, 0.67463, 0.86175
    ),
    ("r3d_18", "kinetics400"): _torchvision(
        "r3d_18-b3b3357e.pth", 127.4, 0.63200, 0.83479
    ),
    ("mc3_18", "kinetics400"): _torchvision(
        "mc3_18-a90a0ba3.pth", 44.7, 0.63960, 0.84130
    ),
    ("evidence", "evidence"): Weights(
        "evidence.safetensors",
        None,
        "5196a72ef5de908d979e4c7903782a843d78a6175d0bbded3544983dee2ffeb8",
        0.2,
        "Apache-2.0",
        "synthetic clips of jaxattr.data.evidence",
    ),
    ("evidence_factored", "families-0"): _families(
        "evidence_factored-0",
        "57f0cde0e335ead4f49f6a2e144a32a107c481f5790e482f49db75560ac9209d",
        0.3,
        0.9978,
    ),
    ("evidence_factored", "families-1"): _families(
        "evidence_factored-1",
        "a6b4a8bd5e0ecaf89894e77e3ad1753475bcc92fce41ad5f176b2dca141b977a",
        0.3,
        0.9989,
    ),
    ("evidence_3d", "families-0"): _families(
        "evidence_3d-0",
        "84b9a866b4a0ece2e04c1f45b99c090cbdd57c107391ff79b87582248e9b5ecc",
        0.4,
        0.9966,
    ),
    ("evidence_3d", "families-1"): _families(
        "evidence_3d-1",
        "d316c85ea76787251c11821a7dfc3eacafa80b151bdf81e5048bca748cadae8f",
        0.4,
        0.9989,
    ),
    ("evidence_lstm", "families-0"): _families(
        "evidence_lstm-0",
        "9476c22730867c158cf2b651b266dc825be40f9d1f66ce69c3be396da8d95150",
        0.4,
        0.9788,
    ),
    ("evidence_lstm", "families-1"): _families(
        "evidence_lstm-1",
        "cb2cf9adda10c69b748c42e616bbb6272fd2e9e10aa6a56b18c706ba3d051f09",
        0.4,
        0.9620,
    ),
    ("evidence_transformer", "families-0"): _families(
        "evidence_transformer-0",
        "2eb72de9d59c56ce1ca350e060cf77798a885ebf404567645b8a9f34179930bd",
        0.5,
        0.9729,
    ),
    ("evidence_transformer", "families-1"): _families(
        "evidence_transformer-1",
        "12cdaa341f43808f3607a68baa2044b7e2d73046982c74ce5db63a65bfdc85ff",
        0.5,
        0.9735,
    ),
}


def cache_folder() -> pathlib.Path:
    """Returns `$JAXATTR_HOME`, else `~/.cache/jaxattr`; it may not exist yet."""
    home = os.environ.get("JAXATTR_HOME")
    return pathlib.Path(home) if home else pathlib.Path.home() / ".cache" / "jaxattr"


def fetch(
    model: str,
    name: str,
    *,
    progress: Callable[[int, int | None], None] | None = None,
) -> pathlib.Path:
    """Returns the verified file of published weights, downloading it if need be.

    The official file is downloaded once, to a temporary name, verified and kept in the
    cache folder; a file put there by hand is verified and used.

    Args:
      model: name of the network.
      name: of its weights.
      progress: called with the bytes received so far and their total, if known.

    Raises:
      CheckpointError: if the name is unknown, the file cannot be downloaded, or it is
        not the published one.
    """
    if (model, name) not in CATALOGUE:
        known = sorted(n for m, n in CATALOGUE if m == model)
        raise CheckpointError(
            f"`name` {name!r} is unknown; {model} has {known or 'no weights'}."
        )
    entry = CATALOGUE[model, name]
    if entry.url is None:
        package = pathlib.Path(str(importlib.resources.files("jaxattr_models")))
        path = package / entry.filename
        _verify(path, entry, "Install jaxattr again")
        return path
    path = cache_folder() / entry.filename
    if path.exists():
        _verify(path, entry, f"Delete it, or replace it by {entry.url}")
    else:
        _download(path, entry.url, entry, progress)
    return path


def _verify(path: pathlib.Path, entry: Weights, advice: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(entry.sha256):
        raise CheckpointError(
            f"`{path}` is not the published file: its SHA-256 begins with "
            f"{digest[: len(entry.sha256)]}, not {entry.sha256}. {advice}."
        )


def _download(path: pathlib.Path, url: str, entry: Weights, progress) -> None:
    digest, received = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT) as response,
            replacing(path) as file,
        ):
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            while block := response.read(_CHUNK):
                file.write(block)
                digest.update(block)
                received += len(block)
                if progress is not None:
                    progress(received, total)
            if not digest.hexdigest().startswith(entry.sha256):
                raise CheckpointError(
                    f"{url} gave {received} bytes of {total}, which are not the "
                    f"published file: SHA-256 begins with "
                    f"{digest.hexdigest()[: len(entry.sha256)]}, not {entry.sha256}."
                )
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"{url} could not be downloaded ({error}). Download it elsewhere and "
            f"put it into {path.parent} as {path.name}."
        ) from error
