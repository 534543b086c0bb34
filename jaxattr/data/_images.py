"""Frames from pictures: a folder of them, an animated GIF, bytes. Needs Pillow only."""

import contextlib
import io
import pathlib
import re
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from jaxattr.data._extras import need
from jaxattr.data._timeline import Timeline

# Pillow would otherwise try every format it knows, by content: for EPS that runs
# Ghostscript on the file.
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}


class Folder:
    """Pictures of one format in a folder, in the natural order of their names."""

    clocked = False

    def __init__(self, path: pathlib.Path):
        self._path = path
        names = [p for p in path.iterdir() if not p.name.startswith(".")]
        self._files = sorted(
            (p for p in names if p.suffix.lower() in FORMATS), key=_natural
        )
        formats = {FORMATS[p.suffix.lower()] for p in self._files}
        if not formats:
            others = ", ".join(sorted(p.name for p in names)[:3]) or "nothing"
            raise ValueError(
                f"`path` {str(path)!r} is a folder without frames: it holds {others}. "
                f"Frames are files ending in {', '.join(FORMATS)}."
            )
        if len(formats) > 1:
            raise ValueError(
                f"`path` {str(path)!r} mixes frames in {', '.join(sorted(formats))}; "
                "keep one format, so that it is clear which files are the video."
            )

    def scan(self, stop: int | None) -> Timeline:
        """Counts the frames; a folder has no clock."""
        return Timeline(len(self._files), None)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields frames as [h, w, 3] uint8 RGB."""
        for i in indices:
            yield _read(self._files[i], self._files[i])

    def files(self) -> list[bytes]:
        """The frames as they are stored."""
        return [file.read_bytes() for file in self._files]


class Encoded:
    """Pictures in memory, each as the bytes of its file."""

    clocked = False

    def __init__(self, frames: Sequence[bytes]):
        self._encoded = frames

    def scan(self, stop: int | None) -> Timeline:
        """Counts the frames; they have no clock."""
        return Timeline(len(self._encoded), None)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields frames as [h, w, 3] uint8 RGB."""
        for i in indices:
            yield _read(io.BytesIO(self._encoded[i]), f"frame {i}")


class Gif:
    """An animated GIF, every frame composed with those before it."""

    # Its delays say how long to show a frame, not when it was taken: GIFs made of
    # frames sampled at 2 per second or at 15 carry whatever looked well.
    clocked = False

    def __init__(self, path: pathlib.Path):
        self._path = path

    def scan(self, stop: int | None) -> Timeline:
        """Composes frames up to `stop`; seconds from their delays."""
        delays = []
        try:
            for image in self._images():
                delays.append(image.info.get("duration") or 100)  # As browsers do.
                if len(delays) == stop:
                    break
            cut = len(delays) != stop and not self._ends()
        except ValueError:
            if not delays:
                raise
            cut = True
        if cut:
            warn_damaged(self._path, len(delays))
        return Timeline(len(delays), np.cumsum([0, *delays]) / 1000)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields frames, in ascending order, as [h, w, 3] uint8 RGB."""
        wanted = set(indices)
        for i, image in enumerate(self._images()):
            if i in wanted:
                yield to_rgb(image)
            if i == max(wanted):
                return

    def _ends(self):
        """Whether the file ends as a GIF does; one cut between frames does not."""
        with self._path.open("rb") as file:
            file.seek(-min(64, self._path.stat().st_size), 2)
            return file.read().rstrip(b"\0").endswith(b";")

    def _images(self):
        with _open(self._path, ["GIF"], self._path) as image:
            more = True
            while more:
                with _decoding(self._path):
                    image.load()
                yield image
                with _decoding(self._path):
                    more = _advance(image)


def to_rgb(image, *, wide: bool = False) -> np.ndarray:
    """Returns the pixels of a Pillow image as [h, w, 3] uint8 RGB.

    Grey is repeated; of 16 bits the upper 8 are kept; transparent pixels become black.

    Args:
      image: of any mode.
      wide: whether integers of mode "I" are known to be in 0..65535.

    Raises:
      ValueError: pixels that are floats or 32-bit integers, whose range is unknown.
    """
    if image.mode.startswith("I;16") or (wide and image.mode == "I"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(
            f"holds pixels of Pillow's mode {image.mode!r}, whose range is unknown; "
            "save frames with 8 or 16 bits."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = need("PIL.Image", "Pillow").new("RGBA", image.size, (0, 0, 0, 255))
        black.alpha_composite(image)
        image = black
    return np.array(image.convert("RGB"))


def warn_damaged(path: pathlib.Path, num_frames: int) -> None:
    """Says that a file ends early or holds frames that do not decode."""
    warnings.warn(
        f"{str(path)!r} is truncated or damaged: {num_frames} of its frames can be "
        "decoded, and the clip is taken from them.",
        stacklevel=5,
    )


def _read(file, name):
    """One picture, upright, as [h, w, 3] uint8 RGB."""
    upright = need("PIL.ImageOps", "Pillow").exif_transpose
    with _open(file, sorted(set(FORMATS.values())), name) as image, _decoding(name):
        # Netpbm has unsigned pixels only, and Pillow scales them to 16 bits.
        wide = image.mode == "I" and image.format == "PPM"
        return to_rgb(upright(image), wide=wide)


def _open(file, formats, name):
    """Opens a picture of some formats, whose header claims no absurd size."""
    pillow = need("PIL.Image", "Pillow")
    with _decoding(name), warnings.catch_warnings():
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        return pillow.open(file, formats=formats)


@contextlib.contextmanager
def _decoding(name):
    """Turns whatever Pillow raises on bad bytes into one ValueError with the file.

    Its parsers raise OSError, SyntaxError, struct.error, IndexError and others.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"cannot decode the picture {str(name)!r}: {error}") from error


def _advance(image):
    """Moves a GIF to its next frame; False at its end."""
    try:
        image.seek(image.tell() + 1)
    except EOFError:
        return False
    return True


def _natural(path):
    """Sorts frame2 before frame10."""
    parts = re.split("([0-9]+)", path.name.lower())
    return [int(p) if p.isdecimal() else p for p in parts], path.name
