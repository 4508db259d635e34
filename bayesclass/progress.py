"""Progress of long work: bars on a terminal, nothing where stderr is a file or a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]

__all__ = ["Progress", "progress_bars"]


@contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """Show a bar for each stage of long work on stderr, if that is a terminal.

    Yields
    ------
    callable or None
        ``progress(stage, done, total)``: the stage in words, and how many of its steps are done; a `total`
        of 0 means that it is not known. None where stderr is no terminal, so that logs stay clean.
        Bars disappear at the end.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield progress
