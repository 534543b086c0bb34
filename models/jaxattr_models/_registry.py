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


def _families(network: str, sha256: str, megabytes: float, top1: float) -> Weights:
    return Weights(
        f"{network}-0.safetensors",
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
        "evidence_factored",
        "13bf11f7533c33915840400ee1f33c983758f8b2adb8f727d426d43a9e5e01c1",
        0.3,
        0.9874,
    ),
    ("evidence_3d", "families-0"): _families(
        "evidence_3d",
        "23aad8aaf4a189afa09f4aff4ee782074844a75d5b15daacdca93db46e44c146",
        0.4,
        0.9099,
    ),
    ("evidence_lstm", "families-0"): _families(
        "evidence_lstm",
        "2be417d8f43ecb7972bc62c0d027e4f543b475df6fc7e4e49a1f312498f4d60b",
        0.4,
        0.8594,
    ),
    ("evidence_transformer", "families-0"): _families(
        "evidence_transformer",
        "52f58dd2c0b9bcaa8c98f3bf3e07f4af90331a17b4ea90eef4a678f9e3c1c284",
        0.5,
        0.9841,
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
