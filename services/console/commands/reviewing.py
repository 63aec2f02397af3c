"""`reviews`: how far reviewers agree."""

from __future__ import annotations

from pathlib import Path

from services.console.connection import labeler
from services.console.output import print_json, results
from services.console.tables import agreement_table


async def show_agreement(*, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show the agreement of all reviewers, and of every two."""
    async with labeler(home, url) as (client, _):
        agreement = await client.agreement()
    if json_output:
        print_json(agreement.json_object())
    else:
        results().print(agreement_table(agreement))
    return 0
