"""Ctrl-C that is not lost: a count beside the exception.

Python raises KeyboardInterrupt wherever the main thread happens to be. Called back from
C++, as the importer and XLA's garbage collection hook do, that code drops it, or turns
it into some other error. So every Ctrl-C is counted too, and who works in steps asks.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

_GRACE = 1.0  # Seconds that a second Ctrl-C leaves for removing temporary files.


class _State:
    pressed = 0
    held = False


@contextlib.contextmanager
def catching() -> Iterator[None]:
    """Counts Ctrl-C inside the block, and ends the process at the second one.

    The second is seen even while XLA compiles and no Python runs. In a thread other
    than the main one, and where Ctrl-C is ignored (`nohup`), nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before in (None, signal.SIG_IGN):
        yield
        return
    numbers, signals = os.pipe()
    os.set_blocking(signals, False)
    wakeup = signal.set_wakeup_fd(signals, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(numbers,), daemon=True).start()
    signal.signal(signal.SIGINT, _press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(wakeup)
        os.close(signals)  # Which ends the thread.
        _State.pressed, _State.held = 0, False


def pressed() -> bool:
    """Whether Ctrl-C was pressed since `catching` began."""
    return _State.pressed > 0


def check() -> None:
    """Raises the KeyboardInterrupt that was swallowed, if one was."""
    if _State.pressed:
        raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Lets the block finish before a first Ctrl-C counts; a second does not wait."""
    before = _State.pressed
    _State.held = True
    try:
        yield
    finally:
        _State.held = False
    if _State.pressed > before:
        raise KeyboardInterrupt


def _press(number, frame):
    _State.pressed += 1
    if not _State.held or _State.pressed > 1:
        raise KeyboardInterrupt


def _watch(numbers):
    count = 0
    while number := os.read(numbers, 1):
        count += number[0] == signal.SIGINT
        if count > 1:
            time.sleep(_GRACE)
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h")  # A progress bar hides the cursor.
            os.write(2, b"\nEnded.\n")
            os._exit(130)
    os.close(numbers)
