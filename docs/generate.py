"""`make docs`: the reference pages, written from the code they describe, so that they cannot disagree with it."""

from __future__ import annotations

import inspect
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from services.console.all_in_one import SERVICES, build, settings_class
from shared import errors
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.events import EVENTS
from shared.metrics import Described
from shared.schemas import ROUTES, asyncapi, json_schema, summary
from shared.settings import PREFIX, Settings

DOCS = Path(__file__).parent
NOTE = "<!-- Written by `make docs` from the code. Do not edit. -->\n"


def pages() -> dict[str, str]:
    """Every page's text, by its file name."""
    return {
        "settings.md": _settings(),
        "errors.md": _errors(),
        "events.md": _events(),
        "metrics.md": _metrics(),
        "events.schema.json": json.dumps(json_schema(), indent=1) + "\n",
        "asyncapi.json": json.dumps(asyncapi(), indent=1) + "\n",
    }


def _settings() -> str:
    common = set(Settings.model_fields)
    parts = [
        NOTE,
        "# Settings\n",
        "Environment variables, or lines of a `.env` file in the working directory. Every one can also be given as "
        "`…_FILE`, the name of a file that holds it.\n",
        "## Every service\n",
        *_table(Settings, sorted(common)),
    ]
    for service in SERVICES:
        found = settings_class(service)
        own = [name for name in found.model_fields if name not in common or name == "port"]
        parts += [f"\n## {service}\n", *_table(found, own)]
    return "\n".join(parts) + "\n"


def _table(found: type[Settings], names: list[str]) -> Iterator[str]:
    yield "| variable | default | meaning |\n| --- | --- | --- |"
    documentation = _attribute_docs(found)
    for name in names:
        field = found.model_fields[name]
        variable = field.validation_alias if isinstance(field.validation_alias, str) else f"{PREFIX}{name.upper()}"
        yield f"| `{variable}` | {_default(field)} | {documentation.get(name, '')} |"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the number of cores"
    if field.default in (None, PydanticUndefined):
        return "none"
    if isinstance(field.default, str | int | float | Path):
        return f"`{field.default}`"
    return "see its class"


def _attribute_docs(found: type[Any]) -> dict[str, str]:
    """The docstrings below a class's attributes, the nearest class first."""
    documented: dict[str, str] = {}
    for base in reversed(found.__mro__):
        if base.__module__.startswith(("services.", "shared.")):
            lines = inspect.getsource(base).splitlines()
            for line, after in itertools.pairwise(lines):
                name, text = line.strip().partition(":")[0], after.strip()
                if text.startswith('"""') and text.endswith('"""') and name.isidentifier():
                    documented[name] = text.strip('"')
    return documented


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
    parts = [
        NOTE,
        "# Events\n",
        "One durable topic exchange `evenskin`; the routing key is the event's name. Bodies are CloudEvents 1.0, "
        "structured or binary. [JSON Schema](events.schema.json), [AsyncAPI](asyncapi.json).\n",
    ]
    for name, event in EVENTS.items():
        sender, receivers = ROUTES[name]
        parts.append(f"## {name}\n\n{summary(event)} From {sender} to {', '.join(receivers)}.\n")
        parts.append("| field | required |\n| --- | --- |")
        parts += [f"| `{f}` | {'yes' if field.is_required() else ''} |" for f, field in event.model_fields.items()]
        parts.append("")
    return "\n".join(parts)


def metrics_of_services() -> dict[str, list[Described]]:
    """The metrics of each service, put together with adapters of no consequence."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        for name in SERVICES:
            given = {"home": home, "database_url": None, "provider": "procedural", "amqp_url": None}
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
    yield "| metric | type | labels | meaning |\n| --- | --- | --- | --- |"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


def write(directory: Path = DOCS) -> None:
    """Write every page."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    write()
