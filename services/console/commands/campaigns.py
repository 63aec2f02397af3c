"""`rebalance` and `train`: start a campaign, and with `--wait` watch it until its model is there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID

from services.console.client import LabelerClient
from services.console.connection import LABELER, labeler
from services.console.output import print_json, progress, results
from services.console.progress import progress_bars
from services.console.tables import plan_table, quota_sums
from services.console.targets import plan_query
from services.console.text import METRIC_NAMES, condition_text, count, overall_metrics, percent, usd
from shared.documents.dead_letters import DeadLetterDocument
from shared.documents.rebalances import Campaign
from shared.errors import OverBudget, TrainingFailed
from shared.events import RebalanceRequested

FAILED_STATES = frozenset({"exhausted", "cancelled", "rejected"})
PAUSED = "paused"
TRAINING_QUEUE = "trainer.QuotaMet"  # where a training that was given up ends as a dead letter
LOOK_S = 5.0  # seconds between two looks for such a dead letter


async def rebalance(
    request: RebalanceRequested, *, wait: bool, yes: bool, home: Path | None, url: str | None, json_output: bool
) -> int:
    """Show the plan, ask where it costs, start the campaign; with `wait` watch it until its model is there."""
    async with labeler(home, url, services=None if wait else (LABELER,)) as (client, endpoints):
        plan = await client.plan(**plan_query(request))
        if not json_output:
            progress().print(plan_table(plan))
        budget = request.max_cost_usd
        if budget is not None and plan.cost_usd > budget:
            raise OverBudget(
                f"The plan costs {usd(plan.cost_usd)}; the budget is {usd(budget)}.",
                advice="Raise --max-cost, or lower the target.",
            )
        if plan.cost_usd > 0 and not yes and sys.stdin.isatty() and sys.stderr.isatty():
            question = f"Generate {count(plan.total, 'image')} for {usd(plan.cost_usd)}?"
            if not typer.confirm(question, err=True):
                progress().print("Nothing was started.")
                return 1
        campaign = await client.rebalance(request.model_dump(mode="json", exclude_none=True))
        if wait:
            return await watch_and_report(client, campaign, json_output=json_output)
        report(campaign, json_output=json_output)
        if endpoints.transient:
            progress().print("It is in the ledger. `evenskin serve all` carries it out; --wait would have.")
    return exit_status(campaign)


async def watch_and_report(client: LabelerClient, campaign: Campaign, *, json_output: bool) -> int:
    """Watch a campaign to its end, then report how it ended. Returns the exit status."""
    last = await watch(client, campaign)
    report(last, json_output=json_output)
    return exit_status(last)


async def watch(client: LabelerClient, campaign: Campaign) -> Campaign:
    """Show a campaign's progress until its end. Returns the campaign as it ended."""
    last = campaign
    with progress_bars() as bars:
        shown = _CampaignBars(bars)
        async with contextlib.aclosing(_updates_until_end(client, campaign.id)) as documents:
            async for last in documents:
                shown.update(last)
    return last


async def _updates_until_end(client: LabelerClient, campaign_id: str) -> AsyncGenerator[Campaign]:
    """Yield the campaign at every change up to its end. Raises TrainingFailed where its training was given up."""
    clock = asyncio.get_running_loop().time
    stream = client.watch_campaign(campaign_id)
    upcoming: asyncio.Task[Campaign] | None = None
    looked = clock()
    try:
        while True:
            upcoming = upcoming or asyncio.create_task(_next(stream), name="campaign stream")
            done, _ = await asyncio.wait({upcoming}, timeout=LOOK_S)
            if done:
                document, upcoming = upcoming.result(), None
                yield document
                if has_ended(document):
                    return
            if clock() - looked >= LOOK_S:
                raise_if_given_up(await client.dead_letters(TRAINING_QUEUE), campaign_id)
                looked = clock()
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        await stream.aclose()


async def _next(stream: AsyncGenerator[Campaign]) -> Campaign:
    return await anext(stream)


def raise_if_given_up(letters: Iterable[DeadLetterDocument], campaign_id: str) -> None:
    """Raise TrainingFailed if a dead letter is of this campaign's training.

    Such a training could not even say so: without this check one would wait for ever.
    """
    for letter in letters:
        if letter.queue == TRAINING_QUEUE and campaign_id in letter.body:
            raise TrainingFailed(
                f"The training was given up: {letter.error}",
                advice="When the cause is mended, `evenskin dead replay` tries it again.",
            )


class _CampaignBars:
    """A bar per condition while images come in, then one for the training. Without a terminal, plain lines."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._told = ""

    def update(self, campaign: Campaign) -> None:
        if self._bars.disable:
            self._tell(campaign)
            return
        for condition, (wanted, counted, failed) in quota_sums(campaign).items():
            self._show(condition_text(condition), counted, wanted, f"{failed} failed" if failed else "")
        training = campaign.training
        if training is not None:
            losses = f"loss {training.train_loss:.3f}, validation {training.validation_loss:.3f}"
            self._show("training", training.epoch, training.epochs, losses)
        elif campaign.state == "met" and not has_ended(campaign):
            self._show("training", 0, None, "starting")

    def _show(self, name: str, done: int, total: int | None, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._tasks[name], completed=done, total=total, note=note)

    def _tell(self, campaign: Campaign) -> None:
        slots, training = campaign.slots, campaign.training
        tenth = 10 * slots.counted // slots.total if slots.total else 10
        line = f"{tenth * 10} % of {count(slots.total, 'image')}"
        if training is not None:
            line = f"training: epoch {training.epoch} of {training.epochs}"
        if line != self._told:
            self._told = line
            progress().print(f"{campaign.state}: {line}")


def report(campaign: Campaign, *, json_output: bool) -> None:
    """Print how a campaign stands."""
    if json_output:
        print_json(campaign.json_object())
        return
    console, slots, model = results(), campaign.slots, campaign.model
    console.print(
        f"Rebalance {campaign.id} is {campaign.state}: {slots.counted:,} of {count(slots.total, 'image')},"
        f" {usd(campaign.spent_usd)} spent.",
        soft_wrap=True,
    )
    if campaign.reason:
        console.print(escape(campaign.reason), soft_wrap=True)
    if campaign.state == PAUSED:
        console.print(f"Mend that, then: evenskin resume {campaign.id}", soft_wrap=True)
    if model is not None:
        overall = overall_metrics(model.metrics)
        numbers = [f"{text} {percent(overall[name])} %" for name, text in METRIC_NAMES.items() if overall.get(name)]
        fate = "is live" if model.promoted else "was not promoted"
        console.print(f"Model {escape(model.version)} {fate}. {', '.join(numbers)}", soft_wrap=True)
        if reason := model.reason or (model.comparison or {}).get("reason"):
            console.print(escape(str(reason)), soft_wrap=True)


def has_ended(campaign: Campaign) -> bool:
    """Whether a campaign goes no further by itself: it failed or is paused, or its training ended, with or without a
    model."""
    if campaign.state == "met":
        return campaign.model is not None or campaign.reason is not None
    return campaign.state in FAILED_STATES or campaign.state == PAUSED


def exit_status(campaign: Campaign) -> int:
    """1 where the campaign did not get what was asked: its images, and a model of them."""
    return 1 if campaign.state in FAILED_STATES or campaign.state == PAUSED or is_not_trained(campaign) else 0


def is_not_trained(campaign: Campaign) -> bool:
    """Whether a campaign got its images, and its training ended without a model."""
    return campaign.state == "met" and campaign.model is None and campaign.reason is not None
