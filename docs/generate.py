"""`make docs`: the reference pages, written from the code they describe, so that they cannot disagree with it."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs import pictures_page
from docs.fields import first_sentence, table, values, without_null
from docs.imports import imports_between_rooms, picture
from services.console.all_in_one import SERVICES, build, settings_class
from shared import errors
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.events import EVENTS, Event
from shared.metrics import Described
from shared.schemas import ROUTES, asyncapi, example_data, example_document, json_schema
from shared.settings import Settings, variable

DOCS = Path(__file__).parent
NOTE = "<!-- Written by `make docs` from the code. Do not edit. -->\n"


def pages() -> dict[str, str]:
    """Every page's text, by its file name."""
    return {
        "settings.md": _settings(),
        "errors.md": _errors(),
        "events.md": _events(),
        "metrics.md": _metrics(),
        "pictures.md": pictures_page.page(NOTE),
        "imports.svg": picture(imports_between_rooms()),
        "events.schema.json": json.dumps(json_schema(), indent=1) + "\n",
        "asyncapi.json": json.dumps(asyncapi(), indent=1) + "\n",
    }


def _settings() -> str:
    common = set(Settings.model_fields)
    parts = [
        NOTE,
        "# Settings\n",
        "Environment variables, or lines of a `.env` file in the working directory. Every one can also be given as "
        "`…_FILE`, the name of a file that holds it. Bounds in italics are not checked when a service starts.\n",
        "## Every service\n",
        *_settings_tables(Settings, sorted(common)),
    ]
    for service in SERVICES:
        found = settings_class(service)
        # A default of its own makes a common setting the service's; where it listens is always told.
        own = [name for name in found.model_fields if name not in common or name in {"port", *found.__annotations__}]
        parts += [f"\n## {service}\n", *_settings_tables(found, own)]
    return "\n".join(parts) + "\n"


def _settings_tables(found: type[Settings], names: list[str]) -> Iterator[str]:
    """A row for each of the settings, and a table for each that is a document of its own."""
    schema = found.model_json_schema()
    definitions = schema.get("$defs", {})
    variables = {name: variable(found.model_fields[name], name) for name in names}
    aliases = {name: found.model_fields[name].validation_alias or name for name in names}
    properties = {variables[name]: without_null(schema["properties"][aliases[name]]) for name in names}
    yield table({"properties": properties}, definitions)
    for name, part in definitions.items():
        yield f"\n### {name}\n\n{first_sentence(part)}\n\n{_made_of(part, definitions)}"


def _errors() -> str:
    rows = []
    for _, found in inspect.getmembers(errors, inspect.isclass):
        if issubclass(found, errors.EvenskinError):
            rows.append((found.code, found.status, (inspect.getdoc(found) or "").split("\n")[0], found.retryable))
    table = [
        f"| `{code}` | {status} | {text} | {'yes' if again else ''} |" for code, status, text, again in sorted(rows)
    ]
    return "\n".join(
        [
            NOTE,
            "# Error codes\n",
            "HTTP answers are `application/problem+json` (RFC 9457) with one of these codes; commands print "
            "`error[code]: sentence`. The exit status is 2 where the user can mend it (below 500), else 1.\n",
            "| code | HTTP status | when | may succeed later |\n| --- | --- | --- | --- |",
            *table,
            "",
        ]
    )


def _events() -> str:
    definitions = json_schema()["$defs"]
    parts = [
        NOTE,
        "# Events\n",
        "One durable topic exchange `evenskin`; the routing key is the event's name. Bodies are CloudEvents 1.0, "
        "structured or binary; for an operator's event the bare data will do. The same source and id are one event, "
        "however often it comes. Bare data, and binary mode without an id, is one by AMQP's `message_id` and what it "
        "says; without a `message_id`, each that is sent is one, and what the broker delivers again is known by what "
        "it says. Fields that a newer sender added are "
        "passed over, but for an operator's event, where they are an error. Bounds in italics are what senders keep "
        "to; a message is not refused for them. For programs: [JSON Schema](events.schema.json), "
        "[AsyncAPI](asyncapi.json).\n",
        "An example in structured mode, as all services send; below, each event's example is its `data`.\n",
        _json(example_document("RebalanceRequested")),
    ]
    for name, event in EVENTS.items():
        sender, receivers = ROUTES[name]
        parts += [f"## {name}\n", *_paragraphs(event), f"From {sender} to {', '.join(receivers)}.\n"]
        parts += [table(definitions[name], definitions), "", _json(example_data(name))]
    parts.append("## What fields are made of\n")
    for name, part in definitions.items():
        if name not in EVENTS:
            parts.append(f"### {name}\n\n{first_sentence(part)}\n\n{_made_of(part, definitions)}\n")
    return "\n".join(parts)


def _made_of(part: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The fields of a document, or the words of a choice."""
    return table(part, definitions) if "properties" in part else f"One of {values(part)}."


def _paragraphs(event: type[Event]) -> Iterator[str]:
    """What the event's docstring says, a line each."""
    for paragraph in (inspect.getdoc(event) or "").split("\n\n"):
        yield paragraph.replace("\n", " ") + "\n"


def _json(document: object) -> str:
    return f"```json\n{json.dumps(document, indent=2, ensure_ascii=False)}\n```\n"


_UNITS = {
    "_seconds": "seconds",
    "_usd": "US dollars",
    "_ratio": "ratio, 0 to 1",
    "_loss": "nats",  # mean binary cross-entropy
    "_per_minute": "count a minute",
    "_info": "always 1",
}


def metrics_of_services() -> dict[str, list[Described]]:
    """The metrics of each service, put together with adapters of no consequence."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        for name in SERVICES:
            given = {"home": home, "database_url": None, "provider": "procedural", "amqp_url": None, "faces": "off"}
            settings = settings_class(name).load(_env_file=None, **given)
            service = build(name, settings, bus=InProcessBus(), blobs=DirectoryBlobs(home))
            found[name] = service.registry.described
    return found


def _metrics() -> str:
    found = metrics_of_services()
    common = [metric for metric in found["augmenter"] if all(metric in metrics for metrics in found.values())]
    parts = [
        NOTE,
        "# Metrics\n",
        "Every service answers `GET /metrics` in Prometheus' text format. Labels have few values: routes are "
        "templates, ids are none. A histogram has `_bucket`, `_sum` and `_count`. Queues are RabbitMQ's to tell, on "
        "its port 15692: `rabbitmq_detailed_queue_messages_ready{queue=…}`. What labeler-api tells of the ledger is "
        "the same in all its replicas: take the maximum, not the sum.\n",
        "## Every service\n",
        *_metric_table(common),
        "\nAnd the client library's own of the process: `process_*` and `python_*`.",
    ]
    for service, metrics in found.items():
        own = [metric for metric in metrics if metric not in common]
        if own:
            parts += [f"\n## {service}\n", *_metric_table(own)]
    return "\n".join(parts) + "\n"


def _metric_table(metrics: list[Described]) -> Iterator[str]:
    yield "| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {unit_of(metric.name)} | {labels} | {metric.meaning} |"


def unit_of(metric: str) -> str:
    """The unit that a metric's name ends in, as Prometheus asks for; what has none is a number of things."""
    return next((unit for end, unit in _UNITS.items() if metric.removesuffix("_total").endswith(end)), "count")


def write(directory: Path = DOCS) -> None:
    """Write every page."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    write()
