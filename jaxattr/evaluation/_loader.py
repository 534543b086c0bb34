"""Decodes the next clips while one is being explained."""

import collections
import concurrent.futures
import contextlib
import time
from collections.abc import Iterator, Sequence

from jaxattr.data import Sample, Samples

_THREADS, _AHEAD = 2, 4


class Loader:
    """Iterates over samples in order; at most a few are in memory at a time.

    Samples with a true `in_order` are asked for one after another, never side by side:
    windows of a video, which is decoded from its start for one that comes too late.

    Attributes:
      waited: seconds for which whoever iterates had to wait.
    """

    def __init__(self, samples: Samples, indices: Sequence[int]):
        self._samples, self._indices = samples, indices
        self.waited = 0.0

    def __iter__(self) -> Iterator[tuple[int, Sample | Exception]]:
        """Yields index and sample, or the error with which it cannot be decoded."""
        threads = 1 if getattr(self._samples, "in_order", False) else _THREADS
        pool = concurrent.futures.ThreadPoolExecutor(threads, "jaxattr-loader")
        coming = collections.deque()
        left = iter(self._indices)

        def ask():
            with contextlib.suppress(StopIteration):
                index = next(left)
                coming.append((index, pool.submit(self._decode, index)))

        try:
            for _ in range(_AHEAD):
                ask()
            while coming:
                index, future = coming.popleft()
                start = time.perf_counter()
                sample = future.result()
                self.waited += time.perf_counter() - start
                ask()
                yield index, sample
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, index):
        try:
            return self._samples[index]
        except (ValueError, OSError) as error:
            return error
