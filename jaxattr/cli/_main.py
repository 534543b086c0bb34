"""Entry point: picks the command, sets JAX up for it, turns errors into sentences."""

import sys
from collections.abc import Sequence

_EXTRA = "jaxattr's command line needs `pip install 'jaxattr[cli]'`"


class CommandError(Exception):
    """A mistake of the user, told in one sentence instead of a traceback."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      args: words after `jaxattr`; None takes the process's own.

    Returns:
      Exit status: 0, 1 when some clips failed, 2 for a mistake in the arguments, 130
      after Ctrl-C.
    """
    try:
        try:
            import tyro

            from jaxattr.cli import _commands
        except ImportError as error:
            sys.stderr.write(f"{_EXTRA} ({error}).\n")
            return 2
        _keep_compilations()
        return tyro.extras.subcommand_cli_from_dict(
            _commands.COMMANDS,
            prog="jaxattr",
            description="Which pixels, in which frames, made a video network decide.",
            args=args,
        )
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. What was finished stays.\n")
        return 130
    except (
        CommandError,
        ValueError,
        TypeError,
        ArithmeticError,
        OSError,
        ImportError,
    ) as error:
        sys.stderr.write(f"jaxattr: {error}\n")
        return 2


def _keep_compilations():
    """Keeps compiled programs on disk: a second run starts at once."""
    import jax

    from jaxattr.cli._paths import home

    jax.config.update("jax_compilation_cache_dir", str(home() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
