"""Frames from an encoded video, through PyAV and the FFmpeg it brings."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from jaxattr.data._extras import need
from jaxattr.data._images import warn_damaged
from jaxattr.data._timeline import Timeline

# FFmpeg goes by content: a playlist named video.mp4 would make it open whatever other
# files or addresses it lists. Only self-contained formats may be read, from files.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,"
    "ivf,obu,flv,asf,ogg,nut,mxf,dv,yuv4mpegpipe",
}
# Where Pillow warns of a decompression bomb: a header may claim more than any camera
# delivers, and the decoder would allocate it. FFmpeg checks it for later frames, too.
_MAX_PIXELS = 89_478_485


class Video:
    """A video file; never more than one decoded frame of it is held."""

    clocked = True

    def __init__(self, path: pathlib.Path):
        self._path = path

    def scan(self, stop: int | None) -> Timeline:
        """Counts frames and collects their times by decoding, up to `stop` frames.

        Headers are not believed: they may promise more frames than there are. A file
        that ends before the duration it declares gives a warning.
        """
        times, last, problems = [], None, []
        with self._opened() as (container, stream):
            for frame in _decode(container, stream, problems):
                times.append(frame.time)
                last = frame.duration * frame.time_base if frame.duration else None
                if len(times) == stop:
                    break
            if not times:
                raise ValueError(
                    f"`path` {str(self._path)!r} holds no frame that can be decoded"
                    f"{': ' + str(problems[0]) if problems else ''}."
                )
            edges = _edges(times, last, stream.average_rate)
            if problems or (
                len(times) != stop and _ends_early(container, edges, len(times))
            ):
                warn_damaged(self._path, len(times))
        return Timeline(len(times), edges)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields frames, in ascending order, as [h, w, 3] uint8 RGB, upright."""
        wanted = set(indices)
        with self._opened() as (container, stream):
            for i, frame in enumerate(_decode(container, stream, [])):
                if i in wanted:
                    turns = round(frame.rotation / 90)
                    yield np.rot90(frame.to_ndarray(format="rgb24"), turns)
                if i == max(wanted):
                    return

    @contextlib.contextmanager
    def _opened(self):
        av = need("av", "PyAV")
        try:
            # "file:" keeps FFmpeg from reading a protocol out of the name.
            container = av.open(f"file:{self._path}", options=dict(_OPTIONS))
        except (av.FFmpegError, UnicodeError) as error:
            raise ValueError(
                f"`path` {str(self._path)!r} is not a video that FFmpeg can read, "
                f"or is cut off before its header ({error}). Give a video, a GIF, or a "
                "folder of frames."
            ) from error
        with container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                what = "video stream" if stream is None else "video of a known codec"
                raise ValueError(f"`path` {str(self._path)!r} has no {what}.")
            codec = stream.codec_context
            if codec.width * codec.height > _MAX_PIXELS:
                raise ValueError(
                    f"`path` {str(self._path)!r} claims frames of {codec.height}x"
                    f"{codec.width} pixels (height x width); {_MAX_PIXELS} is the most "
                    "that is decoded."
                )
            stream.thread_type = "AUTO"
            codec.options = {"max_pixels": str(_MAX_PIXELS)}
            yield container, stream


def _decode(container, stream, problems):
    """Yields frames for as long as there are any; collects errors on the way."""
    ffmpeg_error = need("av", "PyAV").FFmpegError
    packets = container.demux(stream)
    more = True
    while more:
        try:
            packet = next(packets, None)
            if packet is None:
                more = False  # A demuxer that gave up does not flush the decoder.
                frames = stream.codec_context.decode(None)
            else:
                frames = packet.decode()
        except EOFError:  # Flushed already.
            continue
        except ffmpeg_error as error:
            problems.append(error)
            continue
        for frame in frames:
            if frame.is_corrupt:
                problems.append("a frame is corrupt")
            yield frame


def _edges(times, last, rate):
    """Seconds since the first frame at which frames appear, and the last one ends."""
    if None in times or (len(times) > 1 and len(set(times)) == 1):
        return np.arange(len(times) + 1) / float(rate) if rate else None
    # Frames come in the order they are shown. AVI has no field for when, and FFmpeg's
    # guess goes by the order they are stored in: the right times, swapped.
    steps = np.diff(np.sort(np.asarray(times, dtype=np.float64)))
    if last is None:
        last = np.median(steps) if len(steps) else 1 / float(rate or 25)
    return np.cumsum([0, *steps, float(last)])


def _ends_early(container, edges, count):
    """Whether more than one frame is missing of what the file declares."""
    stream = container.streams.best("video")
    if stream.frames > count + 1:
        return True
    if stream.duration:
        declared = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:
        declared = container.duration / 1e6
    else:  # The duration of the file may be that of its sound.
        return False
    return edges is not None and edges[-1] < declared - 1.5 * np.median(np.diff(edges))
