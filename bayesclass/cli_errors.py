"""What the command line makes of failures: one sentence and an exit status, and no traceback."""

from typing import Any

import typer
from typer.core import TyperGroup

PACKAGES = ("bayesclass", "structurefn", "context")
MISTAKE = 2
INTERRUPTED = 130

__all__ = ["INTERRUPTED", "MISTAKE", "OneSentence", "OutputError", "is_ours"]


class OutputError(ValueError):
    """A result that cannot be written where it was asked for: the place, the reason, what to do."""


def is_ours(error: BaseException) -> bool:
    """Return whether an error is a sentence for the user: a ValueError of one of the three packages.

    A plain ValueError, from a library or from us, is a fault of the program and keeps its traceback.
    """
    return isinstance(error, ValueError) and type(error).__module__.partition(".")[0] in PACKAGES


class OneSentence(TyperGroup):
    """A group of commands that ends with one sentence on stderr where the user can mend the cause.

    Exit status 2 for a mistake, as for a wrong option, and 130 for an interruption by Ctrl-C.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("bayesclass: interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except ValueError as error:
            if not is_ours(error):
                raise
            typer.echo(f"bayesclass: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(MISTAKE) from None
