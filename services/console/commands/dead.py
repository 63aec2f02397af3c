"""`dead list|replay`: messages that were given up."""

from __future__ import annotations

from pathlib import Path

from services.console.connection import labeler
from services.console.output import print_json, results
from services.console.tables import dead_letters_table
from services.console.text import count


async def list_dead(*, queue: str | None, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show the dead letters with their errors. They stay where they are."""
    async with labeler(home, url) as (client, _):
        letters = await client.dead_letters(queue)
    if json_output:
        print_json({"dead_letters": [letter.json_object() for letter in letters]})
    elif letters:
        results().print(dead_letters_table(letters))
    else:
        results().print("No message was given up.")
    return 0


async def replay(*, queue: str | None, home: Path | None, url: str | None, json_output: bool) -> int:
    """Send the dead letters back to their queues. Only running services empty those, so none are started for it."""
    async with labeler(home, url, running_only=True) as (client, _):
        replayed = await client.replay(queue)
    if json_output:
        print_json({"replayed": replayed})
    else:
        results().print(f"{count(replayed, 'message')} sent back.")
    return 0
