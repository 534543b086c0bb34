"""The script `jaxattr`: answers Ctrl-C already while JAX is imported.

A module of its own, since anything inside of the package comes after that import.
"""

import os
import signal
import sys


def main() -> int:
    """Imports the command line and runs it; returns its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from jaxattr.cli import main as run  # Catches Ctrl-C itself.

    status = run()
    if status == 130:  # Leaving as usual would wait for what XLA is still computing.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _leave(number, frame):
    # No exception: extension modules that are being imported may swallow it. Nothing
    # is open or half written yet.
    os.write(2, b"\nInterrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
