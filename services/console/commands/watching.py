"""`status --watch`: shows a rebalance as it goes, from its first image to its model.

On a terminal it redraws one picture; into a pipe it writes lines; with `--json` it writes one object a line.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from rich.live import Live

from services.console.client import LabelerClient
from services.console.commands.campaigns import exit_status, has_ended, raise_if_given_up, report
from services.console.connection import labeler
from services.console.output import results
from services.console.tables import Look, campaign_view, look_line
from shared.documents.dead_letters import DeadLetterDocument
from shared.documents.rebalances import Campaign
from shared.errors import ServiceUnreachable

LOOK_S = 2.0  # seconds between two looks
DEAD_LETTERS_S = 10.0  # seconds between two looks for dead letters, which a broker hands out to be read
LINE_S = 10.0  # seconds between two lines where only the number of images has changed
PACE_S = 60.0  # seconds that the pace is measured over
PATIENCE_S = 30.0  # seconds that the service may be away, as for a restart


async def watch_status(*, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show the newest rebalance under way until its end, or, where none is, how the last one ended."""
    async with labeler(home, url, running_only=True) as (client, _):
        campaigns = await client.campaigns()
        if not campaigns:
            results().print("No rebalance was started yet: `evenskin rebalance` starts one.")
            return 0
        chosen = next((campaign for campaign in campaigns if not has_ended(campaign)), campaigns[0])
        looks = _looks(client, chosen.id)
        if json_output:
            last = await _tell_json(looks)
        elif results().is_terminal:
            last = await _draw(looks)
        else:
            last = await _tell_lines(looks)
    if not json_output:
        report(last, json_output=False)
    return exit_status(last)


async def _draw(looks: AsyncIterator[Look]) -> Campaign:
    with Live(console=results(), auto_refresh=False) as live:
        async for look in looks:
            live.update(campaign_view(look), refresh=True)
    return look.campaign


async def _tell_lines(looks: AsyncIterator[Look]) -> Campaign:
    told, told_at = None, 0.0
    async for look in looks:
        campaign, training = look.campaign, look.campaign.training
        news = (
            *(campaign.state, campaign.model, campaign.reason),
            *(training and training.epoch, look.dead_letters),
        )
        line = look_line(look)
        if news != told or time.monotonic() - told_at >= LINE_S:
            results().print(line, soft_wrap=True)
            told, told_at = news, time.monotonic()
    return look.campaign


async def _tell_json(looks: AsyncIterator[Look]) -> Campaign:
    async for look in looks:
        print(json.dumps(look.document(), default=str), flush=True)  # noqa: T201 - one line per look, for scripts
    return look.campaign


async def _looks(client: LabelerClient, campaign_id: str) -> AsyncIterator[Look]:
    """The campaign every LOOK_S, up to its end. Raises TrainingFailed where its training was given up."""
    pace = Pace()
    letters: tuple[DeadLetterDocument, ...] = ()
    seen_letters, seen = -DEAD_LETTERS_S, time.monotonic()
    while True:
        now = time.monotonic()
        try:
            campaign = await client.campaign(campaign_id)
            ended = has_ended(campaign)
            if ended or now - seen_letters >= DEAD_LETTERS_S:
                letters, seen_letters = await client.dead_letters(), now
        except ServiceUnreachable:
            if now - seen > PATIENCE_S:
                raise
            await asyncio.sleep(LOOK_S)
            continue
        seen = now
        pace.note(now, campaign.slots.counted)
        yield Look(campaign, pace.per_minute(), len(letters))
        if ended:
            return
        raise_if_given_up(letters, campaign_id)
        await asyncio.sleep(LOOK_S)


class Pace:
    """How many images a minute come in, over the last PACE_S seconds."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, int]] = deque()

    def note(self, now: float, counted: int) -> None:
        """Note how many images are counted at the moment `now`, in seconds on any clock."""
        self._noted.append((now, counted))
        while now - self._noted[0][0] > PACE_S:
            self._noted.popleft()

    def per_minute(self) -> float | None:
        """Images a minute; None until there were two looks."""
        (since, before), (now, counted) = self._noted[0], self._noted[-1]
        return None if now == since else max(0.0, 60 * (counted - before) / (now - since))
