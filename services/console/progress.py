"""Progress bars on stderr, and nothing where it is no terminal."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from services.console.output import progress


def progress_bars(*, unit: str = "") -> Progress:
    """Bars with a name, a share, a count, the time and what is left of it. They leave the screen when they end."""
    console = progress()
    counted = TextColumn("{task.completed:,.0f} " + unit) if unit else MofNCompleteColumn()
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TaskProgressColumn(),
        counted,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
