"""Where commands say what they do: the error stream, so that results can be piped."""

from rich.console import Console

console = Console(stderr=True, highlight=False)
