"""The `evenskin` command: declares commands and options. `services.console.commands` carries them out, loaded on call.

Results go to stdout, everything else to stderr. Exit status: 0, 1 where something failed, 2 where the user
can mend it, 130 after Ctrl-C. An error is one line with a stable code, and an advice below it; with `--json`
also a problem document on stdout.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
NAME = "evenskin"

app = typer.Typer(
    name=NAME,
    help="Keeps a face-image dataset of skin conditions balanced, and a model trained on it in service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="Model versions: list them, choose the one that is served.", no_args_is_help=True)
dead_app = typer.Typer(help="Messages that were given up: list them, send them back.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(dead_app, name="dead")

Home = Annotated[Path | None, typer.Option("--home", help="Where everything is kept [EVENSKIN_HOME, else ./var].")]
Url = Annotated[
    str | None, typer.Option("--url", help="labeler-api to talk to [EVENSKIN_LABELER_URL, else what runs on --home].")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Conditions = Annotated[
    list[str] | None, typer.Option("--condition", "-c", help="Only this condition; may be given several times.")
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--targets", help="A target of its own: acne=200,clear=100. Overrides the target."),
]
Target = Annotated[int | None, typer.Argument(metavar="[TARGET]", help="Images that each condition shall have.")]
CampaignId = Annotated[str, typer.Argument(metavar="REBALANCE", help="Its id, as `evenskin status` shows it.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is shown with the rebalance.")]
TargetOption = Annotated[int | None, typer.Option("--target", help="The same as TARGET.")]
MaxAttempts = Annotated[int | None, typer.Option("--max-attempts", help="Tries for each image, 1 to 20.")]


class Groups(StrEnum):
    """Where an import finds out whose picture a file is."""

    FOLDER = "folder"


@app.command()
def demo(
    home: Home = None,
    json_output: Json = False,
    scale: Annotated[float, typer.Option(help="Share of the full dataset to run on.", min=0.01, max=1.0)] = 1.0,
) -> int:
    """Run the whole loop on drawn faces: balance, train, serve, report."""
    from services.console.connection import command_settings
    from services.demo.run import run as run_demo

    place = home or command_settings(None).home / "demo"
    return run_demo(place, json_output=json_output, scale=scale)


@app.command()
def reproduce(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Labelled pictures, as `import` reads them [faces are drawn]."),
    ] = None,
    groups: Annotated[
        Groups | None, typer.Option(help="folder: of --data, the deepest folder below the severity is one person.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often everything is repeated, each time anew at random.")] = 5,
    scale: Annotated[float, typer.Option(help="Share of the drawn pictures to run on.", min=0.01, max=1.0)] = 1.0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where results are kept [reproduce/ under home].")
    ] = None,
    home: Home = None,
    json_output: Json = False,
) -> int:
    """Measure what balancing does to a model, with controls; interrupted, it goes on where it was."""
    _let_threads_sleep()
    from services.console.connection import command_settings
    from services.demo.experiments.reproduce import reproduce as run_experiment

    place = out or command_settings(home).home / ("reproduce" if data is None else "reproduce-data")
    return run_experiment(
        place, data=data, groups=groups is not None, seeds=seeds, scale=scale, json_output=json_output
    )


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="generator, augmenter, labeler-api, trainer, model-server or all.")],
    home: Home = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; of labeler-api for all.", min=0, max=65535)] = None,
    model_port: Annotated[int | None, typer.Option(help="Port of model-server for all.", min=0, max=65535)] = None,
) -> int:
    """Run one service, or all of them in one process."""
    from services.console.commands import serving

    return serving.serve(service, home=home, host=host, port=port, model_port=model_port)


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Holds <condition>/<severity>/ and clear/ folders; or a CSV of paths and labels; or what Label Studio "
            "exports as JSON, with corrected labels.",
        ),
    ],
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Other conditions may show as well: not named means unknown.")
    ] = False,
    groups: Annotated[
        Groups | None,
        typer.Option(
            help="folder: the deepest folder below the severity says whose picture it is; one person's share a fold."
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Pictures that are there already get the new labels, as a review would.")
    ] = False,
    keep_folds: Annotated[
        bool,
        typer.Option("--keep-folds", help="train/, val/ and test/ folders, or the column split, say the folds."),
    ] = False,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Bring in labelled pictures; what is there already is not taken twice."""
    if source.suffix.lower() == ".json" and not source.is_dir():
        from services.console.commands import corrections

        return _run(corrections.import_corrections(source, home=home, url=url, json_output=json_output))
    from services.console.commands import importing

    manner = importing.Manner(complete=not incomplete, groups=groups is not None, update=update, keep_folds=keep_folds)
    return _run(importing.import_folder(source, home=home, url=url, manner=manner, json_output=json_output))


@app.command()
def plan(
    target: Target = None,
    target_option: TargetOption = None,
    condition: Conditions = None,
    targets: Targets = None,
    max_attempts: MaxAttempts = None,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Show what a rebalance would generate, cost and take; change nothing."""
    from services.console.commands import dataset
    from services.console.targets import rebalance_request

    request = rebalance_request(
        target=target if target is not None else target_option,
        conditions=condition or (),
        targets=targets or (),
        max_attempts=max_attempts,
    )
    return _run(dataset.show_plan(request, home=home, url=url, json_output=json_output))


@app.command()
def rebalance(
    target: Target = None,
    target_option: TargetOption = None,
    condition: Conditions = None,
    targets: Targets = None,
    max_attempts: MaxAttempts = None,
    max_cost: Annotated[float | None, typer.Option(help="Budget in US dollars.", min=0)] = None,
    review: Annotated[str | None, typer.Option(help="Who accepts images: auto or manual.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until its model is trained.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs money.")] = False,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Bring conditions to a number of images, then train on the result."""
    from services.console.commands import campaigns
    from services.console.targets import rebalance_request

    request = rebalance_request(
        target=target if target is not None else target_option,
        conditions=condition or (),
        targets=targets or (),
        max_attempts=max_attempts,
        max_cost_usd=max_cost,
        review=review,
    )
    return _run(campaigns.rebalance(request, wait=wait, yes=yes, home=home, url=url, json_output=json_output))


@app.command()
def pause(
    campaign: CampaignId, reason: Reason = None, home: Home = None, url: Url = None, json_output: Json = False
) -> int:
    """Ask for no more images until it is resumed; those asked for already are still made, and count."""
    return _change(campaign, "pause", reason, home, url, json_output)


@app.command()
def resume(campaign: CampaignId, home: Home = None, url: Url = None, json_output: Json = False) -> int:
    """Go on with a rebalance that is paused."""
    return _change(campaign, "resume", None, home, url, json_output)


@app.command()
def cancel(
    campaign: CampaignId, reason: Reason = None, home: Home = None, url: Url = None, json_output: Json = False
) -> int:
    """End a rebalance with the images that it has."""
    return _change(campaign, "cancel", reason, home, url, json_output)


def _change(
    campaign: str, asked: str, reason: str | None, home: Path | None, url: str | None, json_output: bool
) -> int:
    from services.console.commands import changing
    from shared.events import CampaignChange

    change = changing.change(
        campaign, CampaignChange(asked), reason=reason, home=home, url=url, json_output=json_output
    )
    return _run(change)


Pictures = Annotated[
    int, typer.Option("--pictures", help="Test pictures that a report distorts, at most; 0 leaves that out.", min=0)
]


@app.command()
def train(
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write the model's report into this directory.")
    ] = None,
    pictures: Pictures = 60,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Train on what there is (a rebalance to 0), and wait for the model."""
    if report is not None:
        from services.console.commands import report as reporting

        return _run(reporting.train_and_report(report, pictures=pictures, home=home, url=url, json_output=json_output))
    from services.console.commands import campaigns
    from services.console.targets import rebalance_request

    request = rebalance_request(target=0)
    return _run(campaigns.rebalance(request, wait=True, yes=True, home=home, url=url, json_output=json_output))


@app.command("cross-validate")
def cross_validate(
    source: Annotated[
        str,
        typer.Argument(metavar="DIR|VERSION", help="Labelled pictures, as `import` reads them, or a dataset version."),
    ],
    folds: Annotated[int, typer.Option("--folds", "-k", help="Parts, each of which is tested on once.")] = 5,
    groups: Annotated[
        Groups | None, typer.Option(help="folder: of DIR, the deepest folder below the severity is one person.")
    ] = None,
    home: Home = None,
    json_output: Json = False,
) -> int:
    """Train on all parts but one, test on that one, and so on: for datasets too small for one test fold."""
    _let_threads_sleep()
    from services.demo.experiments.cross_validate import cross_validate as run_folds

    return run_folds(source, folds=folds, groups=groups is not None, home=home, json_output=json_output)


@app.command()
def report(
    version: Annotated[str, typer.Argument(help="Version, as `evenskin models list` shows it; or live.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="For report.html and report.json.")],
    pictures: Pictures = 60,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Write how good a version is, for whom, and what it gets wrong, as one page with plots and one JSON file."""
    from services.console.commands import report as reporting

    done = reporting.report(version, directory, pictures=pictures, home=home, url=url, json_output=json_output)
    return _run(done)


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the rebalance under way to its end.")] = False,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Show the dataset's balance, the rebalances and the models."""
    if watch:
        from services.console.commands import watching

        return _run(watching.watch_status(home=home, url=url, json_output=json_output))
    from services.console.commands import dataset

    return _run(dataset.show_status(home=home, url=url, json_output=json_output))


@app.command()
def reviews(home: Home = None, url: Url = None, json_output: Json = False) -> int:
    """Show how far reviewers agree, and how many images wait for a verdict."""
    from services.console.commands import reviewing

    return _run(reviewing.show_agreement(home=home, url=url, json_output=json_output))


@app.command()
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; it is the reviewer of their verdicts.")],
    operator: Annotated[bool, typer.Option("--operator", help="They may do everything, not review alone.")] = False,
    json_output: Json = False,
) -> int:
    """Make a token with which somebody signs in, and the entry of EVENSKIN_REVIEWERS that lets it in."""
    from services.console.commands import token as signing_in

    return signing_in.show_token(name, operator=operator, json_output=json_output)


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures: JPEG, PNG, WebP, HEIC or AVIF.")],
    home: Home = None,
    url: Annotated[
        str | None, typer.Option("--url", help="model-server to talk to [EVENSKIN_MODEL_URL, else as above].")
    ] = None,
    json_output: Json = False,
) -> int:
    """Ask the live model what it sees. Pictures are neither kept nor logged."""
    from services.console.commands import models

    return _run(models.predict(files, home=home, url=url, json_output=json_output))


@app.command()
def look(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures: JPEG, PNG, WebP, HEIC or AVIF.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG to draw on [look.png; with --json only where it is named].")
    ] = None,
    json_output: Json = False,
) -> int:
    """Show what is found in pictures: face, frame and advice, drawn on a contact sheet. Needs no service."""
    from services.console.commands import looking

    return looking.look(files, out=out, json_output=json_output)


@app.command()
def sheet(
    condition: Annotated[str | None, typer.Option("--condition", "-c", help="Only images that show it.")] = None,
    severity: Annotated[str | None, typer.Option(help="Only those that show the condition so.")] = None,
    tone: Annotated[int | None, typer.Option(help="Only those of this step of the Monk scale, 1 to 10.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those: accepted, pending or rejected.")] = None,
    limit: Annotated[int, typer.Option(help="Images at most, the first that came.")] = 100,
    out: Annotated[Path, typer.Option("--out", "-o", help="JPEG, PNG or WebP to draw on.")] = Path("sheet.jpg"),
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Draw images with their labels on one sheet, to see many at a glance."""
    from services.console.commands import sheet as drawing
    from shared.taxonomy import parse_condition, parse_severity

    selection = drawing.Selection(
        condition=None if condition is None else parse_condition(condition),
        severity=None if severity is None else parse_severity(severity),
        tone=tone,
        state=state,
        limit=limit,
    )
    return _run(drawing.show_sheet(selection, out=out, home=home, url=url, json_output=json_output))


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    format: Annotated[str, typer.Option(help="imagefolder, labelstudio, coco, csv or audit.")] = "imagefolder",
    annotators: Annotated[
        bool,
        typer.Option("--annotators", help="Reviewers' e-mail addresses are authors in Label Studio: it knows them."),
    ] = False,
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Write the dataset as <condition>/<severity>/ folders, or in a format of other tools; or the audit log."""
    from services.console.commands import export as exporting

    done = exporting.export(
        directory, format=format, annotators=annotators, home=home, url=url, json_output=json_output
    )
    return _run(done)


@models_app.command("list")
def models_list(home: Home = None, url: Url = None, json_output: Json = False) -> int:
    """List the versions with their metrics."""
    from services.console.commands import models

    return _run(models.list_models(home=home, url=url, json_output=json_output))


@models_app.command("compare")
def models_compare(
    first: Annotated[str, typer.Argument(metavar="VERSION", help="One version, as `evenskin models list` shows it.")],
    second: Annotated[str, typer.Argument(metavar="VERSION", help="Another one.")],
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Show two versions' metrics side by side, with the difference."""
    from services.console.commands import models

    return _run(models.compare_models(first, second, home=home, url=url, json_output=json_output))


@models_app.command("export")
def models_export(
    version: Annotated[str, typer.Argument(help="Version to export.")],
    target: Annotated[
        str, typer.Argument(metavar="DIR|s3://BUCKET/PREFIX", help="A new or empty directory, or a bucket.")
    ],
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Write a version's ONNX file, card, model card and datasheet."""
    from services.console.commands import model_export

    return _run(model_export.export_model(version, target, home=home, url=url, json_output=json_output))


@models_app.command("promote")
def models_promote(
    version: Annotated[str, typer.Argument(help="Version to serve.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "promoted by hand",
    home: Home = None,
    url: Url = None,
    json_output: Json = False,
) -> int:
    """Serve a version from now on."""
    from services.console.commands import models

    return _run(models.promote(version, reason=reason, home=home, url=url, json_output=json_output))


@models_app.command("rollback")
def models_rollback(home: Home = None, url: Url = None, json_output: Json = False) -> int:
    """Serve the version that was live before."""
    from services.console.commands import models

    return _run(models.roll_back(home=home, url=url, json_output=json_output))


Queue = Annotated[str | None, typer.Option(help="Only of this queue, such as trainer.QuotaMet.")]


@dead_app.command("list")
def dead_list(queue: Queue = None, home: Home = None, url: Url = None, json_output: Json = False) -> int:
    """List messages that were given up, with their errors."""
    from services.console.commands import dead

    return _run(dead.list_dead(queue=queue, home=home, url=url, json_output=json_output))


@dead_app.command("replay")
def dead_replay(queue: Queue = None, home: Home = None, url: Url = None, json_output: Json = False) -> int:
    """Send messages that were given up back to their queues."""
    from services.console.commands import dead

    return _run(dead.replay(queue=queue, home=home, url=url, json_output=json_output))


def _let_threads_sleep() -> None:
    """Let OpenMP's threads, which spin at every barrier by default, sleep instead: before torch is loaded."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _run(command: Coroutine[Any, Any, int]) -> int:
    return asyncio.run(command)


def invoke(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status. Nothing that a user can cause ends in a traceback."""
    json_output = "--json" in arguments
    try:
        status = _run_guarded(lambda: app(args=list(arguments), prog_name=NAME, standalone_mode=False), json_output)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if status == INTERRUPTED:  # newer Typers return it, older ones raise Abort
        sys.stderr.write("Interrupted.\n")
    return status


def _run_guarded(command: Callable[[], Any], json_output: bool) -> int:
    from shared.errors import EvenskinError

    try:
        return int(command() or 0)
    except typer.Exit as done:
        return done.exit_code
    except EvenskinError as error:
        from services.console.output import print_error

        print_error(error, json_output=json_output)
        return error.exit_status
    except _UsageError as error:
        return _print_usage_error(error, json_output)


# Typer has carried click inside it since 0.26 and used the package before: BadParameter's parent is in both.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _print_usage_error(error: Any, json_output: bool) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: its message is its help
        sys.stderr.write(error.format_message() + "\n")
        return 2
    from services.console.output import print_error
    from shared.errors import InvalidRequest

    path = error.ctx.command_path if getattr(error, "ctx", None) else NAME
    usage = InvalidRequest(error.format_message(), advice=f"See `{path} --help`.")
    usage.code = "usage"
    print_error(usage, json_output=json_output)
    return usage.exit_status


def main() -> None:
    """Entry point of the `evenskin` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal has every character
    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()
