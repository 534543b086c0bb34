"""Entry point: picks the command, sets JAX up for it, turns errors into sentences."""

import sys
from collections.abc import Sequence

from jaxattr.cli import _interrupt

_EXTRA = "jaxattr's command line needs `pip install 'jaxattr[cli]'`"


class CommandError(Exception):
    """A mistake of the user, told in one sentence instead of a traceback."""


_TOLD = (CommandError, ValueError, TypeError, ArithmeticError, OSError, ImportError)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    The first Ctrl-C stops it and leaves what is finished, a second one ends the process
    at once.

    Args:
      args: words after `jaxattr`; None takes the process's own.

    Returns:
      Exit status: 0, 1 when some clips failed, 2 for a mistake in the arguments, 130
      after Ctrl-C.
    """
    with _interrupt.catching():
        try:
            status = _command(args)
            _interrupt.check()
            return status
        except KeyboardInterrupt:
            return _interrupted()
        except Exception as error:
            if _interrupt.pressed():  # Out of C++ it may have come as anything.
                return _interrupted()
            if not isinstance(error, _TOLD):
                raise
            sys.stderr.write(f"jaxattr: {error}\n")
            return 2


def _command(args):
    try:
        import tyro

        from jaxattr.cli import _commands
    except ImportError as error:
        _interrupt.check()
        sys.stderr.write(f"{_EXTRA} ({error}).\n")
        return 2
    _interrupt.check()
    _keep_compilations()
    return tyro.extras.subcommand_cli_from_dict(
        _commands.COMMANDS,
        prog="jaxattr",
        description="Which pixels, in which frames, made a video network decide.",
        args=args,
    )


def _interrupted():
    sys.stderr.write("\nInterrupted. What was finished stays.\n")
    return 130


def _keep_compilations():
    """Keeps compiled programs on disk: a second run starts at once."""
    import jax

    from jaxattr.cli._paths import home

    jax.config.update("jax_compilation_cache_dir", str(home() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
